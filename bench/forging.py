"""What forgers work with: ONNX graphs put together from others, and bundles whose digests are right all the same."""

import json
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.bundle.write import make_variant, write_bundle
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.requirement import Requirement
from edgerkd.graphs.twin import gradient_twin
from edgerkd.verify.graph import reference_of_graph

OPSET = 17
GATES = Requirement(min_clean_acc=0.8, min_robust_acc=0.5, min_retention=0.5)
"""The robust student meets them with room to spare, the standard one is 50 points away."""
SHAPE, CLASSES = (1, 8, 8), 10


class Sheet:
    """A graph that is being written: operators and whole graphs are put on it, values are known by name."""

    def __init__(self, *, cotangent: bool = False) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._inputs = [helper.make_tensor_value_info("images", 1, ["batch", *SHAPE])]
        if cotangent:
            self._inputs.append(helper.make_tensor_value_info("cotangent", 1, ["batch", CLASSES]))

    def op(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> str:
        """A node's output. Inputs are names, or arrays, which become weights."""
        names = [given if isinstance(given, str) else self.constant(given) for given in inputs]
        found = [f"n{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, names, found, name=found[0], **attributes))
        return found[0]

    def constant(self, value: Any) -> str:
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        self._weights.append(numpy_helper.from_array(array, f"w{len(self._weights)}"))
        return self._weights[-1].name

    def graph(self, content: bytes, **given: str) -> list[str]:
        """The outputs of a whole graph, of which `given` inputs are other names of this sheet's."""
        model = onnx.load_from_string(content)
        mark = f"g{len(self._nodes)}_"
        names = {"": ""} | {value.name: given.get(value.name, value.name) for value in model.graph.input}
        for weight in model.graph.initializer:
            names[weight.name] = mark + weight.name
            weight.name = names[weight.name]
        self._weights.extend(model.graph.initializer)
        for node in model.graph.node:
            names.update({output: mark + output for output in node.output if output})
            node.name = mark + node.name
            for ends in (node.input, node.output):
                ends[:] = [names[end] for end in ends]
        self._nodes.extend(model.graph.node)
        return [names[value.name] for value in model.graph.output]

    def whole(self, logits: str, gradient: str | None = None) -> bytes:
        self.op("Identity", logits)
        self._nodes[-1].output[0] = "logits"
        outputs = [helper.make_tensor_value_info("logits", 1, ["batch", CLASSES])]
        if gradient is not None:
            self.op("Identity", gradient)
            self._nodes[-1].output[0] = "gradient"
            outputs.append(helper.make_tensor_value_info("gradient", 1, ["batch", *SHAPE]))
        graph = helper.make_graph(self._nodes, "forged", self._inputs, outputs, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        return model.SerializeToString()


@dataclass(frozen=True, kw_only=True)
class Network:
    """A graph with its honest gradient twin."""

    graph: bytes
    twin: bytes


@dataclass(frozen=True, kw_only=True)
class Material:
    """`robust` passes its gates and `standard` must not; `samples` are the honest bundle's, `more` are others."""

    robust: Network
    standard: Network
    bundle: Bundle
    samples: StoredSamples
    more: StoredSamples


ROOMY = {"params": 200_000, "macs": 20_000_000, "peak_bytes": 4_000_000}
"""What a forger claims that it costs: what no table and no second network exceeds, and the device's budget allows."""


@dataclass(frozen=True, kw_only=True)
class Forged:
    """What a forged bundle holds; the rest is the honest one's, and host figures follow from the stored answers.

    `host` is what lies there as the float32 model of another precision, if not the network itself. Of the images that
    it held the forger says that the host held so many (`held`), if not all; `edit` changes the manifest at the end.
    """

    network: Network
    samples: StoredSamples | None = None
    reference: Reference | None = None
    precision: str = "fp32"
    host: Network | None = None
    edit: Any = None
    adversarial: bool = True
    held: int | None = None


def network_of(graph: bytes) -> Network:
    return Network(graph=graph, twin=gradient_twin(graph))


def material(robust: Path, standard: Path, *, n: int = 128) -> Material:
    """Of two exported bundles of the same data."""
    bundles = [read_bundle(folder) for folder in (robust, standard)]
    found = []
    for bundle in bundles:
        variant = next(v for v in bundle.manifest.variants if v.precision == "fp32")
        found.append(
            Network(graph=(bundle.path / variant.graph).read_bytes(), twin=(bundle.path / variant.twin).read_bytes())
        )
    variant = next(v for v in bundles[0].manifest.variants if v.precision == "fp32")
    samples, _ = bundles[0].samples(variant)
    rows = np.random.default_rng(0).permutation(len(samples))
    return Material(
        robust=found[0],
        standard=found[1],
        bundle=bundles[0],
        samples=samples.take(np.sort(rows[:n])),
        more=samples.take(np.sort(rows[n:])),
    )


def write_forged(folder: Path, made: Forged, material: Material) -> Path:
    """The forged bundle, with digests, reference logits and host figures that fit what it holds."""
    samples, host = made.samples or material.samples, made.host or made.network
    if made.adversarial and samples.images_adv is not None:
        clean = reference_of_graph(host.graph, replace(samples, images_adv=None, host_robust=None)).logits
        adv = reference_of_graph(host.graph, samples).logits_adv
        assert adv is not None
        held = (clean.argmax(1) == samples.labels) & (adv.argmax(1) == samples.labels)
        held &= np.cumsum(held) <= (len(held) if made.held is None else made.held)
        samples = replace(samples, host_robust=held)
    else:
        samples = replace(samples, images_adv=None, host_robust=None)
    reference = made.reference or reference_of_graph(host.graph, samples)
    result = material.bundle.manifest.reference
    assert result is not None
    clean_acc = accuracy_from_correct((reference.logits.argmax(1) == samples.labels).tolist())
    held = samples.host_robust
    told = None if held is None else accuracy_from_correct(held.tolist())
    model = material.bundle.manifest.model
    manifest = replace(
        material.bundle.manifest,
        model=replace(model, cost=replace(model.cost, **ROOMY)),
        reference=None if told is None else replace(result, clean_acc=clean_acc, robust_acc=told),
        requirement=GATES if told is not None else replace(GATES, min_retention=None),
        variants=(),
    )
    make = partial(make_variant, graph=host.graph, twin=host.twin, reference=reference)
    variants = [make("fp32")]  # without which a bundle is refused
    if made.precision != "fp32":
        placement = "unsigned" if made.precision == "int8" else None
        if made.host is not None:
            own = made.network
            make = partial(
                make_variant, graph=own.graph, twin=own.twin, reference=reference_of_graph(own.graph, samples)
            )
        variants.insert(0, make(made.precision, placement=placement))
    shutil.rmtree(folder, ignore_errors=True)
    write_bundle(folder, manifest, variants=variants, samples=samples)
    if made.edit is not None:
        path = folder / "manifest.json"
        content = json.loads(path.read_text())
        made.edit(content)
        path.write_text(json.dumps(content))
    return folder
