"""The layers with weights of an ONNX graph, and a graph that gives their outputs too, made without an ONNX library.

Field numbers as in files/onnx_frame.py. A message that is written in two parts is one message to every reader: numbers
and names of the second part count, and lists go on where they ended. So a graph gets outputs by bytes appended to its
file. Source: https://protobuf.dev/programming-guides/encoding/#last-one-wins
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from edgerkd.core.errors import ArtefactError
from edgerkd.files.onnx_frame import graph_parts, tensor_dims, tensor_name

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_NODE, _OUTPUT = 1, 12  # of GraphProto; its place in ModelProto is 7
_GRAPH = 7
_CAST_TO_FLOAT = bytes.fromhex("0a02746f1801a00102")  # AttributeProto: name "to", i 1 (FLOAT), type 2 (INT)
_FLOAT = bytes.fromhex("0a020801")  # TypeProto: a tensor of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A node with weights: its kind, the names of its inputs and of its output; `weight` are the sizes of the second
    input, None where that is no constant of the graph. `transposed`: a Gemm that takes its first input transposed.
    `varies`: what it gives depends on the images, and is not the same for all.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    weight: tuple[int, ...] | None
    transposed: bool
    varies: bool


def layers_of(onnx: bytes) -> tuple[Layer, ...]:
    """The convolutions, linear maps and products of matrices, in order. Raises ArtefactError for a damaged graph."""
    try:
        nodes, initializers = graph_parts(onnx)
        sizes = {tensor_name(tensor): tensor_dims(tensor) for tensor in initializers}
        constant, found = {"", *sizes}, list[Layer]()
        for node in nodes:
            varies = not constant.issuperset(node.inputs)
            if not varies:
                constant.update(node.outputs)
            if node.kind == "Constant" and node.tensors and node.outputs:
                sizes[node.outputs[0]] = tensor_dims(node.tensors[0])
            if node.kind not in WEIGHTED or len(node.inputs) < 2 or not node.outputs:
                continue
            weight = sizes.get(node.inputs[1])
            found.append(
                Layer(
                    kind=node.kind,
                    inputs=node.inputs,
                    output=node.outputs[0],
                    weight=None if weight is None else tuple(weight),
                    transposed=node.numbers.get("transA", 0) == 1,
                    varies=varies,
                )
            )
    except (IndexError, ValueError) as e:
        raise ArtefactError(f"not an ONNX graph, or damaged: {e}") from e
    return tuple(found)


def count_layer_weights(onnx: bytes) -> int:
    """The constants that these layers multiply what follows from the images by, each counted once.

    Raises ArtefactError for a damaged graph.
    """
    found = {layer.inputs[1]: prod(layer.weight) for layer in layers_of(onnx) if layer.weight and layer.varies}
    return sum(found.values())


def with_outputs(onnx: bytes, tensors: Sequence[str]) -> bytes:
    """The same graph with these tensors as further outputs, behind its own, in this order and as float32.

    The outputs are named after the graph's digest: no graph can have such a name already, and so escape.
    """
    added, digest = b"", hashlib.sha256(onnx).hexdigest()[:16]
    for number, tensor in enumerate(tensors):
        name = f"{digest} {number}".encode()
        cast = (
            _field(1, tensor.encode(errors="surrogateescape"))
            + _field(2, name)
            + _field(4, b"Cast")
            + _field(5, _CAST_TO_FLOAT)
        )
        added += _field(_NODE, cast) + _field(_OUTPUT, _field(1, name) + _field(2, _FLOAT))
    return onnx + _field(_GRAPH, added)


def _field(number: int, content: bytes) -> bytes:
    """A field that holds a string or a message."""
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """A varint, seven bits a byte and the lowest first."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
