"""A graph with float16 weights and activations, float32 images and logits, and a float32 normalization."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgerkd.core.errors import ExportError
from edgerkd.graphs.naming import Names
from edgerkd.graphs.precision.ports import Ports, half_ports
from edgerkd.graphs.precision.ranges import Range
from edgerkd.graphs.precision.wiring import Wiring, edited, put
from edgerkd.graphs.shapes import Facts, facts_of
from edgerkd.graphs.values import Model, Node, opset_of

LARGEST = 65504.0 / 2
"""Of an activation in float16: half of the type's largest number, for images other than those that were seen. Ours."""
_FLOAT, _HALF = 1, 10  # onnx.TensorProto
_WIDE = (
    "LayerNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "MeanVarianceNormalization",
    "DequantizeLinear",
)
"""Operators that stay float32 though they could be float16 (`half_ports`): the sums of squares of the first leave it
early, and ONNX Runtime 1.32 dies of `LayerNormalization`; a scale may be below all that float16 has (opset 19)."""
_WIDE_INPUTS = {"Resize": (1,)}
"""Inputs that stay float32 though they could be float16, by their place: ONNX Runtime reads a region as float32."""


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
        facts, wiring, opset = facts_of(model), Wiring.of(model), opset_of(model)
        ports = [
            None if node.output[0] in keep else _halved_ports(node, wiring, facts, opset) for node in model.graph.node
        ]
        if not any(ports):
            raise ExportError("every node is kept in float32: nothing is left to halve")
        work = _Halving(model=model, wiring=wiring, facts=facts, names=Names(model.graph))
        for node, found in zip(model.graph.node, ports, strict=True):
            work.add(node, found)
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


def _halved_ports(node: Node, wiring: Wiring, facts: Facts, opset: int) -> Ports | None:
    """What of a node becomes float16. None where it stays: it has no float32 to halve, or makes the network's input,
    or its operator has no float16, or sums that need the range.
    """
    first = node.output[0]
    if node.op_type in _WIDE or first not in wiring.varying or first in wiring.front:
        return None
    ports = half_ports(node, opset)
    return ports if facts.types.get(first) == _FLOAT and ports.outputs[0] else None


@dataclass(slots=True, kw_only=True)
class _Halving:
    """The new graph as it grows. `half` are tensors that it makes in float16."""

    model: Model
    wiring: Wiring
    facts: Facts
    names: Names
    nodes: list[Node] = field(default_factory=list[Node])
    half: set[str] = field(default_factory=set[str])
    casts: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])

    def add(self, node: Node, ports: Ports | None) -> None:
        """One node, with inputs of the type that it takes: float16 at `ports`, where it has some."""
        from onnx import NodeProto

        copy = NodeProto()
        copy.CopyFrom(node)
        fixed = _WIDE_INPUTS.get(node.op_type, ())
        for index, name in enumerate(node.input):
            if name and self.facts.types.get(name) == _FLOAT:
                half = ports is not None and ports.inputs[index] and index not in fixed
                copy.input[index] = self.of_type(name, _HALF if half else _FLOAT)
        self.nodes.append(copy)
        outputs = zip(node.output, ports.outputs, strict=True) if ports else ()
        self.half.update(name for name, half in outputs if half and self.facts.types.get(name) == _FLOAT)

    def of_type(self, name: str, kind: int) -> str:
        """A float tensor in float16 or float32: itself, a rounded constant, or a cast, each made once."""
        if kind == (_HALF if name in self.half else _FLOAT):
            return name
        if (name, kind) not in self.casts:
            found = self.names.fresh(f"{name}_{'half' if kind == _HALF else 'wide'}")
            self.casts[name, kind] = found
            if name in self.wiring.constants:
                put(self.model, found, self.wiring.constants[name].astype(np.float16))
            else:
                self._cast(name, found, kind)
        return self.casts[name, kind]

    def widen_output(self, name: str) -> None:
        """The graph's output under its name in float32: what makes it in float16 gets another name."""
        if name not in self.half:
            return
        half = self.names.fresh(f"{name}_half")
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, each in enumerate(names):
                    if each == name:
                        names[index] = half
        self._cast(half, name, _FLOAT)

    def _cast(self, name: str, output: str, kind: int) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node("Cast", [name], [output], name=self.names.fresh(f"{output}_cast"), to=kind))
