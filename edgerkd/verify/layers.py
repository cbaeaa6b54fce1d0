"""What the layers of a graph compute, read by running it with more outputs: where two part, and what one costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from edgerkd.bundle.backend import FloatArray
from edgerkd.core.plain import LayerDifference
from edgerkd.core.precision import Precision
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.onnx_layers import Layer, count_layer_weights, layers_of, with_outputs
from edgerkd.verify.graph import OpenGraph

PARTED: dict[Precision, float] = {"fp32": 1e-3, "fp16": 3e-2, "int8": 0.3}
"""Relative difference of a layer's output from which it is another computation, and no rounding. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCost:
    """What a graph was seen to do with one image: its multiply-adds, the weights of its layers, and the bytes that
    these and the largest output of a layer take in float32.
    """

    macs: int
    weights: int
    least_bytes: int


def seen_cost(graph: bytes, open_graph: OpenGraph, image_shape: tuple[int, int, int]) -> GraphCost:
    """The multiply-adds of a graph's layers, by the shapes that they were seen to take in and give for one image.

    As graphs/cost.py counts them from the shapes that ONNX infers; here a runtime is asked, so that no ONNX library is
    needed. Raises ArtefactError for a damaged graph, EngineError where it does not run.
    """
    layers = layers_of(graph)
    names = list(dict.fromkeys(name for layer in layers for name in (layer.inputs[0], layer.output)))
    image = np.full((1, *image_shape), 0.5, np.float32)
    shapes = {name: value.shape for name, value in read_tensors(graph, open_graph, names, image).items()}
    sizes = [prod(shapes[layer.output]) for layer in layers if layer.varies]
    weights = count_layer_weights(graph)
    return GraphCost(
        macs=sum(_macs(layer, shapes) for layer in layers),
        weights=weights,
        least_bytes=4 * (weights + max(sizes, default=0)),
    )


def _macs(layer: Layer, shapes: Mapping[str, tuple[int, ...]]) -> int:
    taken, given = shapes[layer.inputs[0]], shapes[layer.output]
    if layer.kind == "MatMul":
        return prod(given) * taken[-1]
    if layer.kind == "Gemm":
        return prod(given) * taken[0 if layer.transposed else 1]
    if layer.weight is None:
        return 0
    return prod(taken if layer.kind == "ConvTranspose" else given) * prod(layer.weight[1:])


def first_difference(
    graph: bytes, other: bytes, open_graph: OpenGraph, open_other: OpenGraph, images: FloatArray, limit: float
) -> LayerDifference | None:
    """The first layer of `graph`, among those that the `other` has by the same name, whose output is another one.

    That is one whose relative difference, |a - b| / |b| over all images, is above the limit. None where all are alike.
    Raises as `read_tensors` does.
    """
    there = {layer.output for layer in layers_of(other)}
    shared = [layer for layer in layers_of(graph) if layer.output in there]
    names = [layer.output for layer in shared]
    ours, theirs = (
        read_tensors(content, opened, names, images) for content, opened in ((graph, open_graph), (other, open_other))
    )
    for place, layer in enumerate(shared, start=1):
        a, b = ours[layer.output], theirs[layer.output]
        share = relative_difference(a, b)
        if share > limit:
            return LayerDifference(
                layer=printable(layer.output, LONGEST_NAME) or "?",
                kind=layer.kind,
                place=place,
                of=len(shared),
                share=min(share, 1e6),
            )
    return None


def relative_difference(a: FloatArray, b: FloatArray) -> float:
    """|a - b| / |b|; 1 where their shapes differ."""
    if a.shape != b.shape:
        return 1.0
    size = float(np.sqrt(np.square(b, dtype=np.float64).sum()))
    return float(np.sqrt(np.square(a - b, dtype=np.float64).sum())) / max(size, 1e-12)


def read_tensors(graph: bytes, open_graph: OpenGraph, names: list[str], images: FloatArray) -> dict[str, FloatArray]:
    """The values of tensors inside a graph, as float32, for these images (n, c, h, w)."""
    if not names:
        return {}
    with open_graph(with_outputs(graph, names)) as engine:
        outputs = engine(images)
    return dict(zip(names, outputs[-len(names) :], strict=True))
