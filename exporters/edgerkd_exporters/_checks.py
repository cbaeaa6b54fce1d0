"""What every backend checks first: the ONNX file it is given, and the arrays of a call."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgerkd.bundle.backend import FloatArray
from edgerkd.core.errors import ArtefactError, EngineError, problems_text
from edgerkd.files.paths import GRAPH_LIMIT, read_file

Shape = tuple[int | None, ...]  # None: any size

CASTS_TO_HALF = b"\n\x02to\x18\n\xa0\x01\x02"
"""In the bytes of a graph that casts to float16: a Cast's attribute `to`, 10, which is an integer (onnx.proto)."""

# Field numbers of ModelProto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_GRAPH, _OPSET = 7, 8

# Wire types, https://protobuf.dev/programming-guides/encoding/#structure, and the sizes of those that are fixed
_VARINT, _LEN = 0, 2
_FIXED = {1: 8, 5: 4}


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
    nodes: list[dict[int, list[memoryview | int]]] = []
    unsigned: set[bytes] = set()
    for part in _of(_message(onnx), _GRAPH):
        graph = _message(part)
        nodes += [_message(node) for node in _of(graph, 1)]
        unsigned.update(_name_of(tensor) for tensor in map(_message, _of(graph, 5)) if _is_unsigned(tensor))
    for node in nodes:
        values = [_message(value) for attribute in _of(node, 5) for value in _of(_message(attribute), 5)]
        if any(map(_is_unsigned, values)):  # a Constant
            unsigned.update(bytes(name) for name in _of(node, 2))
    quantisers = [node for node in nodes if [bytes(kind) for kind in _of(node, 4)] == [b"QuantizeLinear"]]
    return [
        bytes(_of(node, 2)[0]).decode(errors="replace")
        for node in quantisers
        if len(_of(node, 1)) > 2 and bytes(_of(node, 1)[2]) in unsigned
    ]


def _is_unsigned(tensor: dict[int, list[memoryview | int]]) -> bool:
    return tensor.get(2) == [2]  # data_type, TensorProto.UINT8


def _name_of(tensor: dict[int, list[memoryview | int]]) -> bytes:
    return b"".join(map(bytes, _of(tensor, 8)))


def _of(message: dict[int, list[memoryview | int]], number: int) -> list[memoryview]:
    """The values of a field that are strings or messages."""
    return [value for value in message.get(number, []) if isinstance(value, memoryview)]


def _message(data: memoryview) -> dict[int, list[memoryview | int]]:
    """The fields of a message by their numbers. Raises IndexError where it is cut short, ValueError for no protobuf."""
    found: dict[int, list[memoryview | int]] = {}
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
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1


def check_inputs(where: object, expected: Mapping[str, Shape], inputs: Sequence[FloatArray]) -> int:
    """The batch size of `inputs`: float32, one for each shape in `expected`, all with the same first dimension.

    Raises:
        EngineError: all that is wrong, in one message that begins with `where`.
    """
    if len(inputs) != len(expected):
        raise EngineError(f"{where}: takes {len(expected)} inputs ({', '.join(expected)}), got {len(inputs)}")
    problems: list[str] = []
    for (name, shape), array in zip(expected.items(), inputs, strict=True):
        if array.dtype != "float32":
            problems.append(f"input {name!r} must be float32, got {array.dtype}")
        fits = len(shape) == array.ndim and all(e in (None, n) for e, n in zip(shape, array.shape, strict=True))
        if not fits:
            sizes = ", ".join("any" if size is None else str(size) for size in shape)
            problems.append(f"input {name!r} must have shape ({sizes}), got {array.shape}")
    batches = sorted({array.shape[0] if array.ndim else 0 for array in inputs})
    if len(batches) != 1 or batches[0] == 0:
        problems.append(f"all inputs must have one batch size of at least 1, got {batches}")
    if problems:
        raise EngineError(problems_text(where, problems))
    return batches[0]
