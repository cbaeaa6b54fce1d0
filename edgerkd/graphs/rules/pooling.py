"""Gradient rules of pools over windows."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.graphs.rules.build import along, batch_first, fit, masked, reshape, unsqueeze
from edgerkd.graphs.rules.tape import FLOATS, Call, Rule, Tape
from edgerkd.graphs.rules.windows import Windows, windows_of


def _max_pool(tape: Tape, call: Call) -> dict[int, str]:
    """A window's gradient goes to its largest element, in equal parts to equal ones, where torch takes the first.

    The n-th elements of all windows are one strided slice, to be compared with the output. On the way back, slices
    whose offsets are equal modulo the strides are added as they are; the sums, one for each remainder, interleave.
    """
    batch_first(tape, call)
    if tape.facts.types[call.x] not in FLOATS:
        raise call.refusal("pools integers: no gradient rule")
    shape, out = tape.shape(call.x), tape.shape(call.y)[2:]
    windows = windows_of(call, call.attributes["kernel_shape"], shape[2:], out)
    padded = _padded(tape, call, windows, out)
    places = list(product(*map(range, windows.kernel)))
    hits = [tape.emit("Equal", element, call.y) for element in _elements(tape, windows, padded, places, out)]
    counts = [tape.emit("Cast", hit, to=tape.facts.types[call.x]) for hit in hits]
    share = tape.emit("Div", call.gradient, tape.emit("Sum", *counts))
    parts = {place: masked(tape, call, hit, share) for place, hit in zip(places, hits, strict=True)}
    together, sizes = _interleave(tape, call, windows, parts, out)
    before = [0, 0, *(-begin for begin in windows.begins)]
    return {0: fit(tape, together, before, [*shape[:2], *sizes], shape)}


def _padded(tape: Tape, call: Call, windows: Windows, out: Sequence[int]) -> str:
    """The pool's input with the least number around it, as far as the windows reach."""
    size = tape.shape(call.x)[2:]
    ends = [max(0, windows.reach(i, out[i]) - size[i] - windows.begins[i]) for i in range(len(windows))]
    if not any(windows.begins) and not any(ends):
        return call.x
    least = tape.numbers(_least(tape, call), call.x)
    return tape.emit("Pad", call.x, tape.integers([0, 0, *windows.begins, 0, 0, *ends]), least)


def _least(tape: Tape, call: Call) -> float:
    limits: Any = np.finfo(tape.dtype(call.x))  # Any: its stubs do not name the type of a limit
    return float(limits.min)


def _elements(
    tape: Tape, windows: Windows, padded: str, places: Sequence[Sequence[int]], out: Sequence[int]
) -> Iterator[str]:
    """By place in the window, that element of all windows."""
    n = range(len(windows))
    axes, steps = tape.integers([i + 2 for i in n]), tape.integers(windows.strides)
    for place in places:
        starts = [place[i] * windows.dilations[i] for i in n]
        ends = [starts[i] + windows.strides[i] * (out[i] - 1) + 1 for i in n]
        yield tape.emit("Slice", padded, tape.integers(starts), tape.integers(ends), axes, steps)


def _interleave(
    tape: Tape, call: Call, windows: Windows, parts: dict[tuple[int, ...], str], out: Sequence[int]
) -> tuple[str, list[int]]:
    """The parts back where they were cut out of the padded input, and the sizes of what they span."""
    n = range(len(windows))
    last = [(windows.extent(i) - 1) // windows.strides[i] for i in n]
    lead = tape.shape(call.x)[:2]
    long = [out[i] + last[i] for i in n]
    groups: dict[tuple[int, ...], list[str]] = {}
    for place, part in parts.items():
        offset = [place[i] * windows.dilations[i] for i in n]
        moved = fit(tape, part, [0, 0, *(offset[i] // windows.strides[i] for i in n)], [*lead, *out], [*lead, *long])
        groups.setdefault(tuple(offset[i] % windows.strides[i] for i in n), []).append(moved)
    sums = {key: tape.emit("Sum", *group) if len(group) > 1 else group[0] for key, group in groups.items()}
    sizes = list(long)
    for axis in reversed(n):
        stride = windows.strides[axis]
        if stride > 1:
            sizes[axis] *= stride
            sums = _woven(tape, call, sums, axis, stride, [*lead, *sizes])
        else:
            sums = {key[:axis]: value for key, value in sums.items()}
    return sums[()], sizes


def _woven(
    tape: Tape, call: Call, sums: dict[tuple[int, ...], str], axis: int, stride: int, shape: Sequence[int]
) -> dict[tuple[int, ...], str]:
    """For each key without its last entry, its tensors by that entry in turn along `axis`; zeros for absent ones."""
    woven: dict[tuple[int, ...], str] = {}
    for key in dict.fromkeys(key[:axis] for key in sums):
        present = [sums.get((*key, remainder), "") for remainder in range(stride)]
        some = next(name for name in present if name)
        zeros = "" if all(present) else tape.emit("Sub", some, some)
        columns = [unsqueeze(tape, name or zeros, [axis + 3]) for name in present]
        woven[key] = reshape(tape, call, tape.emit("Concat", *columns, axis=axis + 3), shape)
    return woven


def _average_pool(tape: Tape, call: Call) -> dict[int, str]:
    """The mean over windows is a matrix for each axis; the gradient takes their transposes."""
    batch_first(tape, call)
    shape, out = tape.shape(call.x), tape.shape(call.y)[2:]
    windows = windows_of(call, call.attributes["kernel_shape"], shape[2:], out)
    padding_counts = bool(call.attributes.get("count_include_pad", 0))
    gradient = call.gradient
    for i in range(len(windows)):
        matrix = _mean_matrix(windows, i, shape[2 + i], out[i], padding_counts=padding_counts)
        gradient = along(tape, gradient, 2 + i, len(shape), matrix, call.x)
    return {0: gradient}


def _mean_matrix(windows: Windows, axis: int, size: int, out: int, *, padding_counts: bool) -> NDArray[np.float64]:
    """(out, size): a window's weights. Padding counts as the node says, what ceil_mode adds beyond it never does."""
    begin, end = windows.begins[axis], windows.ends[axis]
    matrix = np.zeros((out, size))
    for window in range(out):
        start = windows.strides[axis] * window - begin
        places = start + windows.dilations[axis] * np.arange(windows.kernel[axis])
        inside = places[(places >= 0) & (places < size)]
        count = (places < size + end).sum() if padding_counts else len(inside)
        matrix[window, inside] = 1 / count
    return matrix


RULES: dict[str, Rule] = {"AveragePool": _average_pool, "MaxPool": _max_pool}
