"""A graph with float16 weights and activations, float32 images and logits, and a float32 normalization."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgerkd.core.errors import ExportError
from edgerkd.graphs.precision.ranges import Range
from edgerkd.graphs.precision.wiring import Wiring, edited, put
from edgerkd.graphs.shapes import Facts, facts_of
from edgerkd.graphs.values import Model, Node

LARGEST = 65504.0 / 2
"""Of an activation in float16: half of the type's largest number, for images other than those that were seen. Ours."""
_FLOAT, _HALF = 1, 10  # onnx.TensorProto
_WIDE = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization")
"""Operators that stay float32: their sums of squares leave float16 early, and ONNX Runtime 1.32 dies of the first."""
_WIDE_INPUTS = {"Resize": (1, 2), "QuantizeLinear": (0, 1), "DequantizeLinear": (0, 1)}
"""Inputs that stay float32 by the operator's definition (up to opset 18), by their place."""


def overflowing(graph: bytes, ranges: Mapping[str, Range]) -> tuple[str, ...]:
    """The nodes, each by the name of its first output, of which an input, output or weight has no place in float16.

    `ranges` are those of `find_ranges`, over clean and adversarial images.
    """
    import onnx

    model = onnx.load_from_string(graph)
    wiring = Wiring.of(model)

    def too_large(name: str) -> bool:
        if name in wiring.constants:
            value = wiring.constants[name]
            return value.dtype == np.float32 and bool((np.abs(value) > LARGEST).any())
        return name in ranges and ranges[name].magnitude > LARGEST

    return tuple(
        node.output[0]
        for node in model.graph.node
        if wiring.varying & set(node.output) and any(map(too_large, (*node.input, *node.output)))
    )


def halved(graph: bytes, *, keep: Collection[str] = ()) -> bytes:
    """The graph in float16 from behind its normalization to its logits, except for the nodes named in `keep`.

    A node's name is that of its first output (see `overflowing`). Weights are rounded to the nearest float16. Raises
    ExportError where no node is left to change.
    """

    def change(model: Model) -> None:
        facts, wiring = facts_of(model), Wiring.of(model)
        wide = set(keep) | {node.output[0] for node in model.graph.node if _stays(node, wiring, facts)}
        work = _Halving(model=model, wiring=wiring, facts=facts)
        if all(node.output[0] in wide for node in model.graph.node):
            raise ExportError("every node is kept in float32: nothing is left to halve")
        for node in model.graph.node:
            work.add(node, half=node.output[0] not in wide)
        for value in model.graph.output:
            work.widen_output(value.name)
        del model.graph.node[:]
        model.graph.node.extend(work.nodes)

    return edited(graph, change)


def widened(graph: bytes) -> bytes:
    """A graph of `halved` in float32, with the rounded weights: what its gradient twin is made from.

    Half has no place for small gradients, and kernels of float32 are everywhere.
    """

    def change(model: Model) -> None:
        from onnx import numpy_helper

        for tensor in model.graph.initializer:
            if tensor.data_type == _HALF:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
        for node in model.graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _HALF:
                    attribute.i = _FLOAT

    return edited(graph, change)


def _stays(node: Node, wiring: Wiring, facts: Facts) -> bool:
    """Whether a node has no float32 to halve, makes the network's input, or has sums that need the range."""
    first = node.output[0]
    if node.op_type in _WIDE or first not in wiring.varying or first in wiring.front:
        return True
    from_floats = any(facts.types.get(name) == _FLOAT for name in node.input)  # else an attribute says its type
    return facts.types.get(first) != _FLOAT or not from_floats


@dataclass(slots=True, kw_only=True)
class _Halving:
    """The new graph as it grows. `half` are tensors that it makes in float16."""

    model: Model
    wiring: Wiring
    facts: Facts
    nodes: list[Node] = field(default_factory=list[Node])
    half: set[str] = field(default_factory=set[str])
    casts: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])

    def add(self, node: Node, *, half: bool) -> None:
        """One node, with inputs of the type that it takes."""
        from onnx import NodeProto

        copy = NodeProto()
        copy.CopyFrom(node)
        fixed = _WIDE_INPUTS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            if name and self.facts.types.get(name) == _FLOAT:
                copy.input[index] = self.of_type(name, _HALF if half and index not in fixed else _FLOAT)
        if half and node.op_type == "Cast":
            copy.attribute[0].i = _HALF
        self.nodes.append(copy)
        if half:
            self.half.update(name for name in node.output if self.facts.types.get(name) == _FLOAT)

    def of_type(self, name: str, kind: int) -> str:
        """A float tensor in float16 or float32: itself, a rounded constant, or a cast, each made once."""
        if kind == (_HALF if name in self.half else _FLOAT):
            return name
        if (name, kind) not in self.casts:
            self.casts[name, kind] = found = f"{name}_{'half' if kind == _HALF else 'wide'}"
            if name in self.wiring.constants:
                put(self.model, found, self.wiring.constants[name].astype(np.float16))
            else:
                self._cast(name, found, kind)
        return self.casts[name, kind]

    def widen_output(self, name: str) -> None:
        """The graph's output under its name in float32: what makes it in float16 gets another name."""
        if name not in self.half:
            return
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, each in enumerate(names):
                    if each == name:
                        names[index] = f"{name}_half"
        self._cast(f"{name}_half", name, _FLOAT)

    def _cast(self, name: str, output: str, kind: int) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node("Cast", [name], [output], name=output, to=kind))
