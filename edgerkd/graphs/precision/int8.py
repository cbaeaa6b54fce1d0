"""A graph with int8 weights and activations, by explicit quantisers: what to quantise, and how.

Scales are symmetric, weights have one a channel, biases stay float32. Two placements, because runtimes fuse differently
(core/precision.py). Source of what each fuses: for ONNX Runtime its `qdq_selectors.cc` (QLinearConv and QLinearAdd take
inputs and outputs of one type), for TensorRT its guide, "Working with Quantized Types", Q/DQ placement.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ExportError
from edgerkd.core.precision import Placement
from edgerkd.graphs.naming import Names
from edgerkd.graphs.precision.ranges import Range
from edgerkd.graphs.precision.wiring import Wiring, edited, put
from edgerkd.graphs.values import Model, Node, attributes_of, opset_of

OLDEST = 13  # opset: the first whose quantisers have a scale a channel
LARGEST = 127  # of a symmetric int8; -128 is not used, so that a number and its opposite are equally far


class Scale(NamedTuple):
    """A tensor's quantiser: q = round(x / scale) + zero, kept within `low` and `high`."""

    scale: float
    zero: int
    low: int
    high: int


class Layer(NamedTuple):
    """A layer with a constant weight, by the name of its output: of how many numbers, and whether they are rounded."""

    name: str
    weights: int
    rounded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """All that an int8 graph rounds: `activations` by their names in the float32 graph, `layers` in its order."""

    activations: Mapping[str, Scale]
    layers: tuple[Layer, ...]


def layers(graph: bytes) -> tuple[str, ...]:
    """The layers that can be quantised, each by the name of its output, in the graph's order.

    They are convolutions, and linear maps with constant weights. Raises ExportError for a graph that has none.
    """
    import onnx

    model = onnx.load_from_string(graph)
    return _layers(model, Wiring.of(model))


def _layers(model: Model, wiring: Wiring) -> tuple[str, ...]:
    found = tuple(node.output[0] for node in model.graph.node if _channel_axis(node, wiring) is not None)
    if not found:
        have = ", ".join(sorted({node.op_type for node in model.graph.node}))
        raise ExportError(f"int8 quantises Conv, Gemm and MatMul, and the graph has none with constant weights: {have}")
    return found


def rounding_of(
    graph: bytes, ranges: Mapping[str, Range], *, placement: Placement, keep: Collection[str] = ()
) -> Rounding:
    """What `quantized` rounds when it is asked the same."""
    import onnx

    model = onnx.load_from_string(graph)
    wiring = Wiring.of(model)
    every = _layers(model, wiring)
    marks = _activations(model, wiring, set(every) - set(keep), placement)
    return Rounding(
        activations={name: _scale(ranges[wiring.source(name)], name, wiring, placement) for name in sorted(marks)},
        layers=tuple(
            Layer(name, wiring.constants[wiring.makers[name].input[1]].size, name not in keep) for name in every
        ),
    )


def quantized(graph: bytes, ranges: Mapping[str, Range], *, placement: Placement, keep: Collection[str] = ()) -> bytes:
    """The graph with its layers in int8, except those named in `keep` (see `layers`).

    `ranges` are those of `find_ranges`. Raises ExportError for an opset below 13, and where nothing is left to do.
    """

    def change(model: Model) -> None:
        wiring = Wiring.of(model)
        quantised = set(_layers(model, wiring)) - set(keep)
        if not quantised:
            raise ExportError("every layer is kept in float32: nothing is left to quantise")
        if opset_of(model) < OLDEST:
            raise ExportError(f"int8 needs opset {OLDEST}, and the graph has {opset_of(model)}: export it at opset 17")
        marks = _activations(model, wiring, quantised, placement)
        names = Names(model.graph)
        work = _Rewriting(model=model, wiring=wiring, ranges=ranges, placement=placement, names=names)
        _rewrite(work, quantised, marks)

    return edited(graph, change)


def _channel_axis(node: Node, wiring: Wiring) -> int | None:
    """The axis of its constant weight that counts the outputs; None for a node that is not quantised."""
    if len(node.input) < 2 or node.input[0] not in wiring.varying or node.input[1] not in wiring.constants:
        return None
    if node.op_type == "Gemm":
        return 0 if attributes_of(node).get("transB", 0) else 1
    if node.op_type == "MatMul":
        return wiring.constants[node.input[1]].ndim - 1
    return 0 if node.op_type == "Conv" else None


def _activations(model: Model, wiring: Wiring, quantised: set[str], placement: Placement) -> set[str]:
    """The tensors that are rounded.

    In both placements what a quantised layer reads. `unsigned`: also what it gives, after its activation, and both
    inputs and the output of a sum of such. `signed`: of such a sum only what is not a convolution's own output,
    which the kernel has added before it rounds.
    """
    found, given = set[str](), set[str]()
    for node in model.graph.node:
        if node.output[0] in quantised:
            found.add(node.input[0])
            given.add(wiring.end(node.output[0]))
        elif node.op_type == "Add" and all(name in given or wiring.source(name) in given for name in node.input):
            given.add(wiring.end(node.output[0]))
            own = [name for name in node.input if _only_summed(name, wiring, quantised)]
            found.update(node.input if placement == "unsigned" else set(node.input) - set(own[:1]))
    scores = {value.name for value in model.graph.output}
    return found | (given - scores if placement == "unsigned" else set())


def _only_summed(name: str, wiring: Wiring, quantised: set[str]) -> bool:
    return name in quantised and len(wiring.takers[name]) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rewriting:
    """What a rewriting knows, and the nodes of the new graph as they come."""

    model: Model
    wiring: Wiring
    ranges: Mapping[str, Range]
    placement: Placement
    names: Names
    nodes: list[Node] = field(default_factory=list[Node])
    renamed: dict[str, str] = field(default_factory=dict[str, str])
    weights: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])

    def pair(self, name: str) -> None:
        """Quantise a tensor and scale it back; who reads it from here on reads that."""
        found = _scale(self.ranges[self.wiring.source(name)], name, self.wiring, self.placement)
        zero = np.asarray(found.zero, np.int8 if found.low < 0 else np.uint8)
        scaling = [self.put(f"{name}_scale", np.float32(found.scale)), self.put(f"{name}_zero", zero)]
        numbers = self.emit("QuantizeLinear", [name, *scaling], f"{name}_quantized")
        self.renamed[name] = self.emit("DequantizeLinear", [numbers, *scaling], f"{name}_rounded")

    def weight(self, name: str, axis: int) -> str:
        """An int8 weight with a scale a channel, scaled back, made once; its name."""
        if (name, axis) not in self.weights:
            values, scale = _weight(self.wiring.constants[name], axis)
            inputs = [
                self.put(f"{name}_quantized", values),
                self.put(f"{name}_scale", scale),
                self.put(f"{name}_zero", np.zeros(scale.shape, np.int8)),
            ]
            self.weights[name, axis] = self.emit("DequantizeLinear", inputs, f"{name}_rounded", axis=axis)
        return self.weights[name, axis]

    def put(self, wish: str, value: Any) -> str:  # Any: an array or a NumPy number
        """Add a constant; its name."""
        return put(self.model, self.names.fresh(wish), value)

    def emit(self, op: str, inputs: list[str], wish: str, **attributes: Any) -> str:
        """Add one node; the name of its output, and its own."""
        from onnx import helper

        name = self.names.fresh(wish)
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


def _rewrite(work: _Rewriting, quantised: set[str], marks: set[str]) -> None:
    import onnx

    graph = work.model.graph
    if "images" in marks:
        work.pair("images")
    for node in graph.node:
        axis = _channel_axis(node, work.wiring)
        copy = onnx.NodeProto()
        copy.CopyFrom(node)  # the wiring goes on to read the nodes as they were
        for index, name in enumerate(node.input):
            copy.input[index] = work.renamed.get(str(name), str(name))
        if node.output[0] in quantised and axis is not None:
            copy.input[1] = work.weight(node.input[1], axis)
        work.nodes.append(copy)
        for name in node.output:
            if name in marks:
                work.pair(name)
    del graph.node[:]
    graph.node.extend(work.nodes)


def _scale(found: Range, name: str, wiring: Wiring, placement: Placement) -> Scale:
    """Of unsigned numbers 0 begins the range where nothing can lie below it, else it is in its middle."""
    floor = placement == "unsigned" and wiring.nonnegative(name)
    most = found.high if floor else found.magnitude
    scale = most / (255 if floor else LARGEST) if most > 0 else 1.0
    return Scale(scale, 0, -128, 127) if placement == "signed" else Scale(scale, 0 if floor else 128, 0, 255)


def _weight(weight: NDArray[Any], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 values and a float32 scale a channel, such that the largest of each is 127."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    most = np.abs(weight).max(axis=others)
    scale = np.where(most > 0, most / LARGEST, 1).astype(np.float32)
    values = np.rint(weight / np.expand_dims(scale, others)).clip(-LARGEST, LARGEST).astype(np.int8)
    return values, scale
