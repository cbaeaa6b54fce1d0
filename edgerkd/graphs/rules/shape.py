"""Gradient rules of operators that move elements without changing them."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.graphs.rules.build import along, axis_of, cut, fit, reduce, reshape, summed, unsqueeze, without_batch
from edgerkd.graphs.rules.tape import Call, Rule, Tape


def _reshaped(tape: Tape, call: Call) -> dict[int, str]:
    """Refused where elements of several images would come to lie on one axis that does not hold the batch."""
    own, out = tape.shape(call.x), tape.shape(call.y)
    if not _strides_of_batch(own) & _strides_of_batch(out):
        raise call.refusal("mixes the images of a batch: the gradient of one would depend on another")
    return {0: reshape(tape, call, call.gradient, own)}


def _strides_of_batch(shape: Sequence[int]) -> set[int]:
    """How many elements may lie between those of one image and of the next, where an axis holds k times the batch."""
    batch = [axis for axis, size in enumerate(shape) if size < 0]
    if len(batch) != 1:
        return {0}
    times, behind = -shape[batch[0]], prod(shape[batch[0] + 1 :])
    return {inner * behind for inner in range(1, times + 1) if times % inner == 0}


def _transpose(tape: Tape, call: Call) -> dict[int, str]:
    order = call.attributes.get("perm", list(reversed(range(tape.rank(call.x)))))
    return {0: tape.emit("Transpose", call.gradient, perm=[order.index(axis) for axis in range(len(order))])}


def _concat(tape: Tape, call: Call) -> dict[int, str]:
    axis, start, parts = axis_of(tape, call, 0), 0, dict[int, str]()
    for i, name in enumerate(call.inputs):
        size = tape.shape(name)[axis]
        if size < 0:
            raise call.refusal("joins along the batch axis: no gradient rule")
        if i in call.varying:
            parts[i] = cut(tape, call.gradient, [axis], [start], [start + size])
        start += size
    return parts


def _split(tape: Tape, call: Call) -> dict[int, str]:
    """The parts together; zeros for parts that nothing uses."""
    axis = axis_of(tape, call, 0)
    without_batch(tape, call, [axis])
    pairs = zip(call.outputs, call.gradients, strict=True)
    parts = [gradient or tape.emit("Sub", output, output) for output, gradient in pairs if output]
    return {0: tape.emit("Concat", *parts, axis=axis)}


def _slice(tape: Tape, call: Call) -> dict[int, str]:
    """Between zeros; first spread out where the slice has steps."""
    shape, sizes = tape.shape(call.x), list(tape.shape(call.y))
    gradient, before = call.gradient, [0] * len(shape)
    for axis, start, step in _slices(tape, call):
        size, n = shape[axis], sizes[axis]
        if size < 0 and n != size:
            raise call.refusal("cuts the batch axis: no gradient rule")
        if size < 0 or not n:
            continue
        first = min(max(start + size if start < 0 else start, 0), size - 1)
        if step < 0:
            ends, axes = [np.iinfo(np.int64).min], tape.integers([axis])
            gradient = tape.emit("Slice", gradient, tape.integers([-1]), tape.integers(ends), axes, tape.integers([-1]))
            first, step = first + step * (n - 1), -step
        if step > 1:
            gradient, sizes[axis] = _spread_out(tape, call, gradient, sizes, axis, step), n * step
        before[axis] = first
    return {0: fit(tape, gradient, before, sizes, shape)}


def _slices(tape: Tape, call: Call) -> list[tuple[int, int, int]]:
    """(axis, start, step) of each axis that the node names."""
    starts, steps, axes = tape.value(call, 1), tape.value(call, 4), tape.value(call, 3)
    first = [] if starts is None else [int(start) for start in starts]
    names = range(len(first)) if axes is None else [int(axis) % tape.rank(call.x) for axis in axes]
    return list(zip(names, first, [1] * len(first) if steps is None else map(int, steps), strict=True))


def _spread_out(tape: Tape, call: Call, value: str, sizes: Sequence[int], axis: int, step: int) -> str:
    """step - 1 zeros behind each element along `axis`."""
    apart = unsqueeze(tape, value, [axis + 1])
    pads = [0] * 2 * (len(sizes) + 1)
    pads[len(sizes) + 1 + axis + 1] = step - 1
    padded = tape.emit("Pad", apart, tape.integers(pads))
    return reshape(tape, call, padded, [*sizes[:axis], sizes[axis] * step, *sizes[axis + 1 :]])


def _gather(tape: Tape, call: Call) -> dict[int, str]:
    """Back to the places taken from; a matrix of zeros and ones adds what was taken several times."""
    axis = axis_of(tape, call, 0)
    without_batch(tape, call, [axis])
    indices = tape.value(call, 1)
    if indices is None or 1 in call.varying:
        raise call.refusal("has no gradient rule unless its indices are constant")
    shape = tape.shape(call.x)
    size, places = shape[axis], indices.ravel() % shape[axis]
    flat = [*shape[:axis], len(places), *shape[axis + 1 :]]
    gradient = call.gradient if indices.ndim == 1 else reshape(tape, call, call.gradient, flat)
    if len(places) == 1 or (np.diff(places) == 1).all():
        before = [int(places[0]) if a == axis else 0 for a in range(len(shape))]
        return {0: fit(tape, gradient, before, flat, shape)}
    if len(set(places.tolist())) == len(places):
        padded = fit(tape, gradient, [0] * len(shape), flat, [*shape[:axis], len(places) + 1, *shape[axis + 1 :]])
        inverse = np.full(size, len(places), np.int64)
        inverse[places] = np.arange(len(places))
        return {0: tape.emit("Gather", padded, tape.integers(inverse.tolist()), axis=axis)}
    return {0: along(tape, gradient, axis, len(shape), _taking(places, size), call.x)}


def _taking(places: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """(n, size): one where row i takes its element."""
    return np.eye(size)[places]


def _expand(tape: Tape, call: Call) -> dict[int, str]:
    return {0: summed(tape, call, 0, call.gradient)}


def _tile(tape: Tape, call: Call) -> dict[int, str]:
    """The sum over the copies, with an axis for each number of repeats."""
    repeats = tape.value(call, 1)
    shape = tape.shape(call.x)
    assert repeats is not None
    counts = [int(n) for n in repeats]
    without_batch(tape, call, [axis for axis, n in enumerate(counts) if n != 1])
    apart: list[int] = []
    axes: list[int] = []
    for n, size in zip(counts, shape, strict=True):
        if n != 1:
            axes.append(len(apart))
            apart.append(n)
        apart.append(size)
    if not axes:
        return {0: call.gradient}
    return {0: reduce(tape, "ReduceSum", reshape(tape, call, call.gradient, apart), axes, keep=False)}


def _pad(tape: Tape, call: Call) -> dict[int, str]:
    """Constant padding is cut off; reflected or repeated elements are added where they came from."""
    pads, axes = tape.value(call, 1), tape.value(call, 3)
    assert pads is not None
    shape, out = tape.shape(call.x), tape.shape(call.y)
    rank = len(shape)
    names = range(rank) if axes is None else [int(axis) % rank for axis in axes]
    begins = [0] * rank
    ends = [0] * rank
    for place, axis in enumerate(names):
        begins[axis], ends[axis] = int(pads[place]), int(pads[len(names) + place])
    padded = [axis for axis in range(rank) if begins[axis] or ends[axis]]
    without_batch(tape, call, padded)
    mode = call.attributes.get("mode", b"constant").decode()
    if mode == "constant":
        return {0: fit(tape, call.gradient, [-begin for begin in begins], out, shape)}
    gradient = call.gradient
    for axis in padded:
        places = _padded_places(shape[axis], begins[axis], ends[axis], mode)
        gradient = along(tape, gradient, axis, rank, _taking(places, shape[axis]), call.x)
    return {0: gradient}


def _padded_places(size: int, begin: int, end: int, mode: str) -> NDArray[np.int64]:
    """Where each element of the padded axis comes from; a negative padding cuts."""
    pad: Any = np.pad  # Any: its overloads want the mode as a literal
    places: NDArray[np.int64] = pad(np.arange(size), (max(begin, 0), max(end, 0)), mode)
    return places[max(-begin, 0) : len(places) - max(-end, 0)]


def _depth_to_space(tape: Tape, call: Call) -> dict[int, str]:
    block = call.attributes["blocksize"]
    if call.attributes.get("mode", b"DCR") == b"DCR":
        return {0: tape.emit("SpaceToDepth", call.gradient, blocksize=block)}
    batch, channels, height, width = tape.shape(call.x)
    apart = reshape(tape, call, call.gradient, [batch, channels // block**2, height, block, width, block])
    moved = tape.emit("Transpose", apart, perm=[0, 1, 3, 5, 2, 4])
    return {0: reshape(tape, call, moved, [batch, channels, height, width])}


def _space_to_depth(tape: Tape, call: Call) -> dict[int, str]:
    return {0: tape.emit("DepthToSpace", call.gradient, blocksize=call.attributes["blocksize"])}


def _cumulative_sum(tape: Tape, call: Call) -> dict[int, str]:
    """The sum from the other end."""
    axis = tape.value(call, 1)
    assert axis is not None
    without_batch(tape, call, [int(axis)])
    backwards = 1 - call.attributes.get("reverse", 0)
    exclusive = call.attributes.get("exclusive", 0)
    return {0: tape.emit("CumSum", call.gradient, call.inputs[1], exclusive=exclusive, reverse=backwards)}


RULES: dict[str, Rule] = {
    "Concat": _concat,
    "CumSum": _cumulative_sum,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _reshaped,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshaped,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshaped,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshaped,
}
