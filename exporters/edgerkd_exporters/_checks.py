"""What every backend checks first: the arrays of a call."""

from collections.abc import Mapping, Sequence

from edgerkd.bundle.backend import FloatArray
from edgerkd.core.errors import EngineError, problems_text

Shape = tuple[int | None, ...]  # None: any size

CASTS_TO_HALF = b"\n\x02to\x18\n\xa0\x01\x02"
"""In the bytes of a graph that casts to float16: a Cast's attribute `to`, 10, which is an integer (onnx.proto)."""


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
