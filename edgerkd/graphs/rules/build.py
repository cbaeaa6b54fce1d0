"""Pieces of backward graph that several rules share, in the form that the graph's opset knows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.graphs.rules.tape import Call, Tape


def masked(tape: Tape, call: Call, condition: str, gradient: str) -> str:
    """The gradient where the condition holds, else zero.

    A product takes a tenth of the time of `Where` in ONNX Runtime, but not where the gradient may be infinite, for
    nothing times infinity is no number.
    """
    if tape.steep:
        return tape.emit("Where", condition, gradient, tape.numbers(0, call.x))
    return tape.emit("Mul", gradient, tape.emit("Cast", condition, to=tape.facts.types[call.x]))


def reshape(tape: Tape, call: Call, value: str, shape: Sequence[int]) -> str:
    """Reshape to sizes of which one may be a multiple of the batch."""
    if sum(size < 0 for size in shape) > 1:
        raise call.refusal("has the batch size on two axes: no gradient rule")
    return tape.emit("Reshape", value, tape.integers([-1 if size < 0 else size for size in shape]))


def reduce(tape: Tape, op: str, value: str, axes: Sequence[int], *, keep: bool) -> str:
    """A reduction: `axes` is an input of ReduceSum from opset 13 on, of the others from 18."""
    if tape.opset >= (13 if op == "ReduceSum" else 18):
        return tape.emit(op, value, tape.integers(axes), keepdims=int(keep))
    return tape.emit(op, value, axes=list(axes), keepdims=int(keep))


def unsqueeze(tape: Tape, value: str, axes: Sequence[int]) -> str:
    """Add axes of size 1: `axes` is an input from opset 13 on."""
    if tape.opset >= 13:
        return tape.emit("Unsqueeze", value, tape.integers(axes))
    return tape.emit("Unsqueeze", value, axes=list(axes))


def summed(tape: Tape, call: Call, index: int, gradient: str, shape: Sequence[int] | None = None) -> str:
    """The gradient of input `index`, broadcast by the node to `shape` (its output's): the sum over the copies."""
    own, out = tape.shape(call.inputs[index]), tape.shape(call.y) if shape is None else shape
    extra = len(out) - len(own)
    stretched = [extra + axis for axis, size in enumerate(own) if size != out[extra + axis]]
    if any(out[axis] < 0 for axis in (*range(extra), *stretched)):
        raise call.refusal(f"broadcasts {call.inputs[index]!r} over the batch axis: no gradient rule")
    if stretched:
        gradient = reduce(tape, "ReduceSum", gradient, stretched, keep=True)
    return reduce(tape, "ReduceSum", gradient, range(extra), keep=False) if extra else gradient


def expand(tape: Tape, value: str, axes: Sequence[int], shape: Sequence[int]) -> str:
    """Repeat along `axes`, where the value has size 1, to these sizes."""
    return tape.emit("Expand", value, tape.integers([n if axis in axes else 1 for axis, n in enumerate(shape)]))


def cut(tape: Tape, value: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> str:
    """A slice with step 1."""
    return tape.emit("Slice", value, tape.integers(starts), tape.integers(ends), tape.integers(axes))


def fit(tape: Tape, value: str, before: Sequence[int], shape: Sequence[int], target: Sequence[int]) -> str:
    """Move a value of `shape` by `before` along each axis, into zeros of sizes `target`; what falls outside is cut.

    An axis that holds the batch is left as it is.
    """
    axes = [axis for axis, size in enumerate(shape) if size >= 0]
    starts = {axis: max(0, -before[axis]) for axis in axes}
    ends = {axis: min(shape[axis], target[axis] - before[axis]) for axis in axes}
    chosen = [axis for axis in axes if (starts[axis], ends[axis]) != (0, shape[axis])]
    if chosen:
        value = cut(tape, value, chosen, [starts[a] for a in chosen], [ends[a] for a in chosen])
    left = [max(0, before[axis]) if axis in axes else 0 for axis in range(len(shape))]
    right = [max(0, target[a] - before[a] - shape[a]) if a in axes else 0 for a in range(len(shape))]
    return tape.emit("Pad", value, tape.integers([*left, *right])) if any(left) or any(right) else value


def along(tape: Tape, value: str, axis: int, rank: int, matrix: NDArray[Any], like: str) -> str:
    """Multiply one axis of size n by a matrix of (n, m)."""
    if axis == rank - 1:
        return tape.emit("MatMul", value, tape.numbers(matrix, like))
    if axis == rank - 2:
        return tape.emit("MatMul", tape.numbers(np.swapaxes(matrix, 0, 1), like), value)
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    swapped = tape.emit("Transpose", value, perm=order)
    return tape.emit("Transpose", tape.emit("MatMul", swapped, tape.numbers(matrix, like)), perm=order)


def without_batch(tape: Tape, call: Call, axes: Sequence[int]) -> None:
    """Raise ExportError where the node reduces an axis of its first input that holds the batch."""
    if any(tape.shape(call.x)[axis] < 0 for axis in axes):
        raise call.refusal("mixes the images of a batch: the gradient of one would depend on another")


def batch_first(tape: Tape, call: Call) -> None:
    """Raise ExportError where the batch is on another axis of the first input than the first."""
    without_batch(tape, call, range(1, tape.rank(call.x)))


def axis_of(tape: Tape, call: Call, default: int) -> int:
    """The node's attribute `axis`, counted from the front."""
    return int(call.attributes.get("axis", default)) % tape.rank(call.x)
