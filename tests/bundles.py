"""A small real bundle: a network with random weights, exported, attacked and written as `edgerkd export` does."""

from pathlib import Path

from edgerkd.bundle.write import write_bundle
from edgerkd.core.manifest import HostResult, Manifest
from edgerkd.core.progress import Silent
from edgerkd.files.profiles import load_profile
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.attack import attack_network
from edgerkd.models.cost import count_cost
from edgerkd.models.onnx_graph import OPSET, onnx_from_network
from tests.zoo import THREAT, dataset, network


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
            "classes": data.class_names,
            "preprocessing": data.facts.preprocessing,
            "precision": "fp32",
            "opset": OPSET,
            "architecture": net.architecture,
            "cost": count_cost(net.architecture)[0],
            "threat_model": THREAT,
            "profile": load_profile("x86-cpu"),
            "host": HostResult(
                clean_acc=found.clean_acc,
                robust_acc=found.robust_acc,
                teacher_clean_acc=found.clean_acc,
                teacher_robust_acc=found.robust_acc,
                attack="PGD-20",
            ),
            "versions": {},
            **changes,
        }
    )
    return write_bundle(folder, student=graph, twin=gradient_twin(graph), replay=attacked.replay, manifest=manifest)
