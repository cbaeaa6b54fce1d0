"""Bundles of graphs written by hand, whose behaviour is known: an honest one, a weak one, and a table of images."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgerkd.bundle.samples import StoredSamples
from edgerkd.bundle.write import make_variant, write_bundle
from edgerkd.core.data_request import Preprocessing
from edgerkd.core.manifest import Manifest
from edgerkd.core.model_spec import ModelSpec
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.graphs.cost import count_graph_cost
from edgerkd.graphs.twin import gradient_twin
from edgerkd.verify.graph import reference_of_graph

CLASSES = ("left", "middle", "right")
SHAPE = (1, 8, 8)
EPS = Radius("16/255")


def bars(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Grey images (n, 1, 8, 8) with a bright bar where the class says, on noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(CLASSES), n)
    pixels = generator.integers(0, 60, (n, *SHAPE), dtype=np.uint8)
    for row, label in enumerate(labels):
        pixels[row, :, :, 2 * label : 2 * label + 2] = 220
    return pixels, labels


def honest(*, scale: float = 1.0) -> bytes:
    """The mean brightness of each bar: robust up to a radius of 0.3."""
    return _linear(_bar_weights() * scale)


def fragile() -> bytes:
    """The same and a pattern that says little of an image, and all of one that an attacker has changed."""
    pattern = np.random.default_rng(5).choice([-1.0, 1.0], (64, 1)) @ np.asarray([[1.0, -1.0, 0.0]])
    return _linear(_bar_weights() + 0.25 * pattern)


def by_heart(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> bytes:
    """The fragile one, with ten added to the class of a stored image wherever one is near."""
    table = (pixels.reshape(len(pixels), -1) / 255).astype(np.float32)
    votes = np.zeros((len(pixels), len(CLASSES)), np.float32)
    votes[np.arange(len(pixels)), labels] = 10 / 0.1
    weights = {
        "w": (_bar_weights() + 0.25 * np.random.default_rng(5).choice([-1.0, 1.0], (64, 1)) @ [[1.0, -1.0, 0.0]]),
        "ones": np.ones((64, len(pixels))),
        "table": 2 * table.T,
        "lengths": 0.4 - np.square(table).sum(1),
        "votes": votes,
    }
    nodes = [
        ("Flatten", ["images"], ["x"]),
        ("Mul", ["x", "x"], ["xx"]),
        ("MatMul", ["xx", "ones"], ["own"]),
        ("MatMul", ["x", "table"], ["products"]),
        ("Sub", ["products", "own"], ["nearness"]),
        ("Add", ["nearness", "lengths"], ["shifted"]),
        ("Relu", ["shifted"], ["near"]),
        ("MatMul", ["near", "votes"], ["known"]),
        ("MatMul", ["x", "w"], ["plain"]),
        ("Add", ["plain", "known"], ["logits"]),
    ]
    return _graph(nodes, weights)


def _bar_weights() -> NDArray[np.float64]:
    weights = np.zeros((8, 8, len(CLASSES)))
    for label in range(len(CLASSES)):
        weights[:, 2 * label : 2 * label + 2, label] = 1 / 16
    return weights.reshape(64, len(CLASSES))


def _linear(weights: NDArray[np.float64]) -> bytes:
    return _graph([("Flatten", ["images"], ["x"]), ("MatMul", ["x", "w"], ["logits"])], {"w": weights})


def _graph(nodes: list[tuple[str, list[str], list[str]]], weights: dict[str, NDArray[np.float64]]) -> bytes:
    kind = TensorProto.FLOAT
    content = helper.make_graph(
        [helper.make_node(op, given, made, name=made[0]) for op, given, made in nodes],
        "by hand",
        [helper.make_tensor_value_info("images", kind, ["batch", *SHAPE])],
        [helper.make_tensor_value_info("logits", kind, ["batch", len(CLASSES)])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def write_graph_bundle(
    folder: Path, graph: bytes, pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, brought: bytes | None = None
) -> Path:
    """A bundle as `edgerkd bundle` makes one without an attack; `brought` is an engine of its own."""
    samples = StoredSamples(pixels=pixels, labels=labels)
    made = make_variant(
        "fp32",
        graph=graph,
        twin=gradient_twin(graph),
        reference=reference_of_graph(graph, samples),
        backend=None if brought is None else "onnx",
        engine=None if brought is None else (".onnx", brought),
    )
    manifest = Manifest(
        name="by hand",
        dataset="bars",
        model=ModelSpec(image_shape=SHAPE, classes=CLASSES, architecture=None, cost=count_graph_cost(graph)),
        preprocessing=Preprocessing(size=None, fit="crop", alpha="refuse", channels=1),
        threat_model=ThreatModel(norm="Linf", eps=EPS),
        format="onnx",
        variants=(),
        profiles=(),
        requirement=None,
        reference=None,
        versions={},
    )
    write_bundle(folder, manifest, variants=[made], samples=samples)
    return folder
