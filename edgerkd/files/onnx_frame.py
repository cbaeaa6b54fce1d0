"""What can be said of an ONNX file without an ONNX library, on a device: its frame, its quantisers, its weights.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, and the encoding is that of
https://protobuf.dev/programming-guides/encoding/.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from edgerkd.core.errors import ArtefactError
from edgerkd.files.paths import GRAPH_LIMIT, read_file

_GRAPH, _OPSET = 7, 8  # of ModelProto
_NODE, _INITIALIZER = 1, 5  # of GraphProto
_DIMS, _DATA_TYPE, _TENSOR_NAME = 1, 2, 8  # of TensorProto
_FLOAT, _UINT8, _HALF = 1, 2, 10  # TensorProto.DataType

_VARINT, _LEN = 0, 2  # wire types, and the sizes of those that are fixed
_FIXED = {1: 8, 5: 4}

_Message = dict[int, list[memoryview | int]]


def read_onnx(path: Path) -> bytes:
    """The bytes of an ONNX file; no ONNX library is needed, so this works on a device.

    Only the outer frame is checked: a graph and an opset, and every field as long as it says. That is what the
    TensorRT parsers leave out: they take text, or an empty file, for a network without layers.

    Raises:
        ArtefactError: no such file, not ONNX, or cut short.
    """
    data = read_file(path, limit=GRAPH_LIMIT, error=ArtefactError)
    if not {_GRAPH, _OPSET} <= _fields(data):
        raise ArtefactError(f"{path}: not an ONNX graph, or cut short ({len(data)} bytes); export it again")
    return data


def unsigned_quantisers(onnx: bytes) -> list[str]:
    """The quantisers of a graph whose zero point is unsigned, each by its output's name.

    TensorRT's parser takes their numbers for signed ones and says nothing (seen with TensorRT-RTX 1.7.1.116). Nothing
    is found in a damaged graph, which that parser refuses.
    """
    try:
        return _unsigned_quantisers(memoryview(onnx))
    except (IndexError, ValueError):
        return []


def _unsigned_quantisers(onnx: memoryview) -> list[str]:
    nodes, initializers = _graph_of(onnx)
    unsigned = {_name_of(tensor) for tensor in initializers if _is_unsigned(tensor)}
    for node in nodes:
        if any(map(_is_unsigned, _values(node))):
            unsigned.update(bytes(name) for name in _of(node, 2))
    quantisers = [node for node in nodes if [bytes(kind) for kind in _of(node, 4)] == [b"QuantizeLinear"]]
    return [
        bytes(_of(node, 2)[0]).decode(errors="replace")
        for node in quantisers
        if len(_of(node, 1)) > 2 and bytes(_of(node, 1)[2]) in unsigned
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node: its operator, the names of what goes in and comes out, and its attributes that are whole numbers or
    tensors. Bytes of a name that are no text are kept as lone surrogates.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[str, int]
    tensors: tuple[_Message, ...]


def graph_parts(onnx: bytes) -> tuple[list[NodeFacts], list[_Message]]:
    """The nodes and the initializers of a model's graph. Raises IndexError or ValueError for a damaged one."""
    nodes, initializers = _graph_of(memoryview(onnx))
    return [_facts(node) for node in nodes], initializers


def _facts(node: _Message) -> NodeFacts:
    attributes = [_message(part) for part in _of(node, 5)]
    return NodeFacts(
        kind=_text(node, 4),
        inputs=tuple(bytes(name).decode(errors="surrogateescape") for name in _of(node, 1)),
        outputs=tuple(bytes(name).decode(errors="surrogateescape") for name in _of(node, 2)),
        numbers={_text(each, 1): each[3][0] for each in attributes if 3 in each and isinstance(each[3][0], int)},
        tensors=tuple(_values(node)),
    )


def tensor_dims(tensor: _Message) -> list[int]:
    """A tensor's sizes."""
    return _dims(tensor)


def tensor_name(tensor: _Message) -> str:
    return _name_of(tensor).decode(errors="surrogateescape")


def _text(message: _Message, number: int) -> str:
    return b"".join(map(bytes, _of(message, number))).decode(errors="surrogateescape")


def count_weights(onnx: bytes) -> int:
    """The floating-point constants of a graph, without single numbers. Raises ArtefactError for a damaged one."""
    try:
        nodes, initializers = _graph_of(memoryview(onnx))
        tensors = [*initializers, *(value for node in nodes for value in _values(node))]
        sizes = [prod(_dims(tensor)) for tensor in tensors if tensor.get(_DATA_TYPE) in ([_FLOAT], [_HALF])]
    except (IndexError, ValueError) as e:
        raise ArtefactError(f"not an ONNX graph, or damaged: {e}") from e
    return sum(size for size in sizes if size > 1)


def _graph_of(onnx: memoryview) -> tuple[list[_Message], list[_Message]]:
    """The nodes and the initializers of a model's graph. Raises as `_message` does."""
    graphs = [_message(part) for part in _of(_message(onnx), _GRAPH)]
    nodes, initializers = (
        [_message(part) for graph in graphs for part in _of(graph, number)] for number in (_NODE, _INITIALIZER)
    )
    return nodes, initializers


def _values(node: _Message) -> list[_Message]:
    """The tensors among a node's attributes: what a Constant holds."""
    return [_message(value) for attribute in _of(node, 5) for value in _of(_message(attribute), 5)]


def _dims(tensor: _Message) -> list[int]:
    """A tensor's sizes, each in a field of its own or all packed into one."""
    found: list[int] = []
    for part in tensor.get(_DIMS, []):
        at = 0
        while isinstance(part, memoryview) and at < len(part):
            size, at = _varint(part, at)
            found.append(size)
        if isinstance(part, int):
            found.append(part)
    return found


def _is_unsigned(tensor: _Message) -> bool:
    return tensor.get(_DATA_TYPE) == [_UINT8]


def _name_of(tensor: _Message) -> bytes:
    return b"".join(map(bytes, _of(tensor, _TENSOR_NAME)))


def _of(message: _Message, number: int) -> list[memoryview]:
    """The values of a field that are strings or messages."""
    return [value for value in message.get(number, []) if isinstance(value, memoryview)]


def _message(data: memoryview) -> _Message:
    """The fields of a message by their numbers. Raises IndexError where it is cut short, ValueError for no protobuf."""
    found: _Message = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        value: memoryview | int
        if kind == _VARINT:
            value, at = _varint(data, at)
        else:
            size, at = _varint(data, at) if kind == _LEN else (_FIXED.get(kind), at)
            if size is None:
                raise ValueError(kind)
            value, at = data[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    if at != len(data):
        raise IndexError
    return found


def _fields(data: bytes) -> set[int]:
    """The numbers of the outermost protobuf fields; empty if they do not fill `data` exactly."""
    try:
        return set(_message(memoryview(data)))
    except (IndexError, ValueError):
        return set()


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at `at` and the place after it, https://protobuf.dev/programming-guides/encoding/#varints"""
    value = shift = 0
    while data[at] & 0x80:
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1
