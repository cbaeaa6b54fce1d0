"""Which inputs and outputs of a node can be float16, by the definition of its operator at the graph's opset."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgerkd.graphs.values import Node

_HALF = "tensor(float16)"


@dataclass(frozen=True, slots=True)
class Ports:
    """Of each input and output of a node, by its place, whether it can be float16."""

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]


def half_ports(node: Node, opset: int) -> Ports:
    """Those of a standard operator; none of another, of which nothing is known.

    An output is float16 where it has the type of an input that can be. Of other outputs, such as a Cast's, an attribute
    says the type.
    """
    from onnx import defs

    if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, opset, ""):
        return Ports((False,) * len(node.input), (False,) * len(node.output))
    schema = defs.get_schema(node.op_type, opset, "")
    given = {parameter.type_str for parameter in schema.inputs}
    return Ports(
        tuple(_HALF in _parameter(schema.inputs, place).types for place in range(len(node.input))),
        tuple(
            _HALF in parameter.types and parameter.type_str in given
            for parameter in (_parameter(schema.outputs, place) for place in range(len(node.output)))
        ),
    )


def _parameter(parameters: Sequence[Any], place: int) -> Any:  # Any: onnx.defs.OpSchema.FormalParameter
    """The one at this place; the last may stand for any number."""
    return parameters[min(place, len(parameters) - 1)]
