"""What can be said of an ONNX file without an ONNX library, on a device: its frame, its quantisers, its weights.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from edgerkd.core.errors import ArtefactError
from edgerkd.core.text import printable
from edgerkd.files.onnx_operators import check_operators
from edgerkd.files.paths import GRAPH_LIMIT, read_file
from edgerkd.files.protobuf import Message, message, numbers, strings

_GRAPH, _OPSET = 7, 8  # of ModelProto
_NODE, _INITIALIZER = 1, 5  # of GraphProto
_DIMS, _DATA_TYPE, _TENSOR_NAME = 1, 2, 8  # of TensorProto
_FLOAT, _UINT8, _HALF = 1, 2, 10  # TensorProto.DataType


def read_onnx(path: Path) -> bytes:
    """The bytes of an ONNX file; no ONNX library is needed, so this works on a device.

    Every runtime's files come through here. The frame is checked, a graph and an opset and every field as long as it
    says, for the TensorRT parsers take text, or an empty file, for a network without layers; and then that its nodes
    are no more than a classifier needs (`check_operators`).

    Raises:
        ArtefactError: no such file, not ONNX, cut short, or with an operator that is not allowed.
    """
    data = read_file(path, limit=GRAPH_LIMIT, error=ArtefactError)
    if not {_GRAPH, _OPSET} <= _fields(data):
        raise ArtefactError(f"{path}: not an ONNX graph, or cut short ({len(data)} bytes); export it again")
    check_operators(data, where=str(path))
    return data


def unsigned_quantisers(onnx: bytes) -> list[str]:
    """The quantisers of a graph whose zero point is unsigned, each by its output's name.

    TensorRT's parser takes their numbers for signed ones and says nothing (seen with TensorRT-RTX 1.7.1.116). Nothing
    is found in a damaged graph, which that parser refuses.
    """
    try:
        return _unsigned_quantisers(onnx)
    except (IndexError, ValueError):
        return []


def _unsigned_quantisers(onnx: bytes) -> list[str]:
    nodes, initializers = graph_parts(onnx)
    unsigned = {tensor_name(tensor) for tensor in initializers if _is_unsigned(tensor)}
    for node in nodes:
        if any(map(_is_unsigned, node.tensors)):
            unsigned.update(node.outputs)
    quantisers = [node for node in nodes if node.kind == "QuantizeLinear"]
    return [printable(node.outputs[0]) for node in quantisers if len(node.inputs) > 2 and node.inputs[2] in unsigned]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node: its operator, its name, the names of what goes in and comes out, and its attributes that are whole
    numbers or tensors. Bytes of a name that are no text are kept as lone surrogates.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, int]
    tensors: tuple[Message, ...]


def graph_parts(onnx: bytes) -> tuple[list[NodeFacts], list[Message]]:
    """The nodes and the initializers of a model's graph. Raises IndexError or ValueError for a damaged one."""
    nodes, initializers = _graph_of(memoryview(onnx))
    return [_facts(node) for node in nodes], initializers


def _facts(node: Message) -> NodeFacts:
    attributes = [message(part) for part in strings(node, 5)]
    return NodeFacts(
        kind=_text(node, 4),
        name=_text(node, 3),
        inputs=tuple(map(_decoded, strings(node, 1))),
        outputs=tuple(map(_decoded, strings(node, 2))),
        numbers={_text(each, 1): each[3][0] for each in attributes if 3 in each and isinstance(each[3][0], int)},
        tensors=tuple(_values(node)),
    )


def tensor_dims(tensor: Message) -> list[int]:
    """A tensor's sizes."""
    return numbers(tensor, _DIMS)


def tensor_type(tensor: Message) -> int:
    """The number of a tensor's data type; 0, undefined, where it says none."""
    return next(iter(numbers(tensor, _DATA_TYPE)), 0)


def tensor_name(tensor: Message) -> str:
    """A tensor's name."""
    return _text(tensor, _TENSOR_NAME)


def _text(message: Message, number: int) -> str:
    return _decoded(b"".join(strings(message, number)))


def _decoded(text: bytes | memoryview) -> str:
    return bytes(text).decode(errors="surrogateescape")


def count_weights(onnx: bytes) -> int:
    """The floating-point constants of a graph, without single numbers. Raises ArtefactError for a damaged one."""
    try:
        nodes, initializers = _graph_of(memoryview(onnx))
        tensors = [*initializers, *(value for node in nodes for value in _values(node))]
        sizes = [prod(numbers(tensor, _DIMS)) for tensor in tensors if tensor.get(_DATA_TYPE) in ([_FLOAT], [_HALF])]
    except (IndexError, ValueError) as e:
        raise ArtefactError(f"not an ONNX graph, or damaged: {e}") from e
    return sum(size for size in sizes if size > 1)


def _graph_of(onnx: memoryview) -> tuple[list[Message], list[Message]]:
    """The nodes and the initializers of a model's graph. Raises as `message` does."""
    graphs = [message(part) for part in strings(message(onnx), _GRAPH)]
    nodes, initializers = (
        [message(part) for graph in graphs for part in strings(graph, number)] for number in (_NODE, _INITIALIZER)
    )
    return nodes, initializers


def _values(node: Message) -> list[Message]:
    """The tensors among a node's attributes: what a Constant holds."""
    return [message(value) for attribute in strings(node, 5) for value in strings(message(attribute), 5)]


def _is_unsigned(tensor: Message) -> bool:
    return tensor.get(_DATA_TYPE) == [_UINT8]


def _fields(data: bytes) -> set[int]:
    """The numbers of the outermost protobuf fields; empty if they do not fill `data` exactly."""
    try:
        return set(message(memoryview(data)))
    except (IndexError, ValueError):
        return set()
