"""A small real bundle: a network with random weights, exported, attacked and written as `edgerkd export` does."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgerkd.bundle.read import read_bundle
from edgerkd.bundle.write import make_variant, write_bundle
from edgerkd.core.manifest import Manifest
from edgerkd.core.model_spec import ModelSpec
from edgerkd.core.precision import Precision
from edgerkd.core.progress import Silent
from edgerkd.core.requirement import ReferenceResult
from edgerkd.core.run import RunFolder
from edgerkd.files.profiles import load_profile
from edgerkd.graphs.precision.fp16 import halved
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.attack import attack_network
from edgerkd.models.cost import count_cost
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.verify.graph import reference_of_graph
from tests.zoo import THREAT, dataset, network

GRAPH, TWIN, REFERENCE = "fp32.onnx", "fp32.twin.onnx", "fp32.reference.npz"


def write_small_bundle(folder: Path, **changes) -> Manifest:
    """The host's figures are the network's own, so that its own gates are met; `changes` go to the manifest."""
    data, net = dataset(n=60), network(classes=3)
    attacked = attack_network(
        net,
        data.test,
        name="student",
        split="test",
        of=len(data.test),
        class_names=data.class_names,
        threat_model=THREAT,
        seed=0,
        progress=Silent(),
    )
    graph = onnx_from_network(net)
    found = attacked.evaluation
    manifest = Manifest(
        **{
            "name": "small",
            "dataset": data.name,
            "model": ModelSpec(
                image_shape=net.architecture.image_shape,
                classes=data.class_names,
                architecture=net.architecture,
                cost=count_cost(net.architecture)[0],
            ),
            "preprocessing": data.facts.preprocessing,
            "threat_model": THREAT,
            "format": "onnx",
            "variants": (),
            "profiles": (load_profile("x86-cpu"),),
            "requirement": None,
            "reference": ReferenceResult(
                clean_acc=found.clean_acc,
                robust_acc=found.robust_acc,
                attacks=tuple(row.attack for row in found.rows),
                teacher_clean_acc=found.clean_acc,
                teacher_robust_acc=found.robust_acc,
            ),
            "versions": {},
            **changes,
        }
    )
    made = make_variant("fp32", graph=graph, twin=gradient_twin(graph), reference=attacked.reference)
    return write_bundle(folder, manifest, variants=[made], samples=attacked.samples)


def write_rounded_bundle(folder: Path) -> None:
    """The same with a variant of each precision, and images that were made against another network."""
    small = folder.with_name(f"{folder.name}-small")
    manifest = write_small_bundle(small)
    samples, _ = read_bundle(small).samples(manifest.variants[0])
    assert samples.images_adv is not None
    samples = replace(samples, transfers=np.asarray(samples.images_adv)[None])
    exact = (small / GRAPH).read_bytes()
    rounded = quantized(exact, find_ranges(exact, [samples.images]), placement="unsigned", keep=layers(exact)[-1:])
    graphs: dict[Precision, bytes] = {"fp32": exact, "fp16": halved(exact), "int8": rounded}
    made = [
        make_variant(name, graph=graph, twin=gradient_twin(graph), reference=reference_of_graph(graph, samples))
        for name, graph in graphs.items()
    ]
    write_bundle(folder, replace(manifest, variants=(), origins=("teacher",)), variants=made, samples=samples)


def report_on(bundle: Path) -> Path:
    """Where `edgerkd verify` leaves what it found of this bundle."""
    return RunFolder(bundle.parent).verification(read_bundle(bundle).key)
