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


def _fields(data: bytes) -> set[int]:
    """The numbers of the outermost protobuf fields; empty if they do not fill `data` exactly."""
    found: set[int] = set()
    at = 0
    try:
        while at < len(data):
            key, at = _varint(data, at)
            value, at = _varint(data, at)
            if key & 7 == 2:  # "LEN": the number was the length of what follows
                at += value
            elif key & 7 != 0:  # ModelProto has "LEN" and "VARINT" fields only
                return set()
            found.add(key >> 3)
    except IndexError:
        return set()
    return found if at == len(data) else set()


def _varint(data: bytes, at: int) -> tuple[int, int]:
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
