"""The gradient rule of Resize: each axis is a matrix, of which the gradient takes the transpose."""

import math

import numpy as np
from numpy.typing import NDArray

from edgerkd.graphs.rules.build import along, without_batch
from edgerkd.graphs.rules.tape import Call, Rule, Tape


def _resize(tape: Tape, call: Call) -> dict[int, str]:
    """Nearest, linear and cubic, in every coordinate mode except cropping, without antialiasing."""
    refused = [key for key in ("antialias", "exclude_outside") if call.attributes.get(key, 0)]
    if call.attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        refused.append("keep_aspect_ratio_policy")
    if call.attributes.get("coordinate_transformation_mode", b"") == b"tf_crop_and_resize":
        refused.append("tf_crop_and_resize")
    if refused:
        raise call.refusal(f"has no gradient rule for {', '.join(refused)}")
    shape, out = tape.shape(call.x), tape.shape(call.y)
    scales = _scales(tape, call)
    changed = [axis for axis in range(len(shape)) if scales[axis] != 1]
    without_batch(tape, call, changed)
    gradient = call.gradient
    for axis in changed:
        matrix = resize_matrix(shape[axis], out[axis], scales[axis], call)
        gradient = along(tape, gradient, axis, len(shape), matrix, call.x)
    return {0: gradient}


def _scales(tape: Tape, call: Call) -> list[float]:
    """By axis, the factor the node names, or the one its sizes mean."""
    shape, out = tape.shape(call.x), tape.shape(call.y)
    axes = [axis % len(shape) for axis in call.attributes.get("axes", range(len(shape)))]
    given = tape.value(call, 2)
    if given is None or not given.size:
        return [1.0 if size < 0 else out[axis] / size for axis, size in enumerate(shape)]
    found = [1.0] * len(shape)
    for axis, scale in zip(axes, given, strict=True):
        found[axis] = float(scale)
    return found


def resize_matrix(size: int, out: int, scale: float, call: Call) -> NDArray[np.float64]:
    """(out, size): the weights of the elements that each resized one is made of. Source: ONNX, Resize-19."""
    mode = call.attributes.get("mode", b"nearest").decode()
    matrix = np.zeros((out, size))
    for i in range(out):
        x = _coordinate(i, size, out, scale, call)
        for place, weight in _taps(x, mode, call):
            matrix[i, min(max(place, 0), size - 1)] += weight
    return matrix


def _coordinate(i: int, size: int, out: int, scale: float, call: Call) -> float:
    """Where resized element i lies among the originals."""
    mode = call.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return 0.0 if out == 1 else i * (size - 1) / (out - 1)
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if mode == "pytorch_half_pixel" and out == 1:
        return 0.0
    centred = (i + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return size / 2 * (1 - out / (scale * size)) + centred
    return centred


def _taps(x: float, mode: str, call: Call) -> list[tuple[int, float]]:
    """(place, weight) of the originals around x; a place outside counts for the nearest inside."""
    if mode == "nearest":
        return [(_nearest(x, call.attributes.get("nearest_mode", b"round_prefer_floor").decode()), 1.0)]
    low = math.floor(x)
    rest = x - low
    if mode == "linear":
        return [(low, 1 - rest), (low + 1, rest)]
    a = call.attributes.get("cubic_coeff_a", -0.75)
    return [(low + k, _cubic(abs(rest - k), a)) for k in (-1, 0, 1, 2)]


def _nearest(x: float, way: str) -> int:
    if way == "floor":
        return math.floor(x)
    if way == "ceil":
        return math.ceil(x)
    return math.floor(x + 0.5) if way == "round_prefer_ceil" else math.ceil(x - 0.5)


def _cubic(t: float, a: float) -> float:
    """Source: Keys 1981, "Cubic convolution interpolation for digital image processing", equation 15 for any a."""
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a


RULES: dict[str, Rule] = {"Resize": _resize}
