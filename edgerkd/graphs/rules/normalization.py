"""Gradient rules of softmaxes and normalisations."""

from collections.abc import Sequence

import numpy as np

from edgerkd.graphs.rules.build import along, axis_of, batch_first, reduce, reshape, without_batch
from edgerkd.graphs.rules.tape import Call, Rule, Tape

FLOAT, FLOAT16 = 1, 10  # onnx.TensorProto


def _softmax_axes(tape: Tape, call: Call) -> list[int]:
    """One axis from opset 13 on, `axis` and all behind it before."""
    axis = axis_of(tape, call, -1 if tape.opset >= 13 else 1)
    axes = [axis] if tape.opset >= 13 else list(range(axis, tape.rank(call.x)))
    without_batch(tape, call, axes)
    return axes


def _softmax(tape: Tape, call: Call) -> dict[int, str]:
    """y (g - sum(g y))."""
    weighted = tape.emit("Mul", call.gradient, call.y)
    total = reduce(tape, "ReduceSum", weighted, _softmax_axes(tape, call), keep=True)
    return {0: tape.emit("Mul", call.y, tape.emit("Sub", call.gradient, total))}


def _log_softmax(tape: Tape, call: Call) -> dict[int, str]:
    """g - exp(y) sum(g)."""
    total = reduce(tape, "ReduceSum", call.gradient, _softmax_axes(tape, call), keep=True)
    return {0: tape.emit("Sub", call.gradient, tape.emit("Mul", tape.emit("Exp", call.y), total))}


def _per_channel(tape: Tape, call: Call, vector: str, like: str) -> str:
    """A vector of one number a channel, to be multiplied with (n, c, ...)."""
    return reshape(tape, call, vector, [tape.shape(like)[1], *(1 for _ in tape.shape(like)[2:])])


def _batch_norm(tape: Tape, call: Call) -> dict[int, str]:
    """In inference mode a scale per channel."""
    if call.attributes.get("training_mode", 0):
        raise call.refusal("is in training mode, which mixes the images of a batch")
    batch_first(tape, call)
    scale, variance = call.inputs[1], call.inputs[4]
    epsilon = tape.numbers(call.attributes.get("epsilon", 1e-5), variance)
    factor = tape.emit("Div", scale, tape.emit("Sqrt", tape.emit("Add", variance, epsilon)))
    return {0: tape.emit("Mul", call.gradient, _per_channel(tape, call, factor, call.x))}


def _standardised(tape: Tape, x: str, gradient: str, axes: Sequence[int], epsilon: str) -> str:
    """Through (x - mean) / sqrt(variance + epsilon) over `axes`: r (g - mean(g) - n mean(g n)), n being the result."""

    def mean(value: str) -> str:
        return reduce(tape, "ReduceMean", value, axes, keep=True)

    centred = tape.emit("Sub", x, mean(x))
    variance = mean(tape.emit("Mul", centred, centred))
    rate = tape.emit("Reciprocal", tape.emit("Sqrt", tape.emit("Add", variance, epsilon)))
    result = tape.emit("Mul", centred, rate)
    aligned = tape.emit("Mul", result, mean(tape.emit("Mul", gradient, result)))
    rest = tape.emit("Sub", tape.emit("Sub", gradient, mean(gradient)), aligned)
    return tape.emit("Mul", rate, rest)


def _only_the_images_vary(call: Call) -> None:
    if call.varying != (0,):
        raise call.refusal("has a scale or bias that depends on the images: no gradient rule")


def _layer_norm(tape: Tape, call: Call) -> dict[int, str]:
    """Over `axis` and all behind it; half precision is left for float32 in between, as ONNX computes it."""
    _only_the_images_vary(call)
    axes = list(range(axis_of(tape, call, -1), tape.rank(call.x)))
    without_batch(tape, call, axes)
    gradient, epsilon = tape.emit("Mul", call.gradient, call.inputs[1]), call.attributes.get("epsilon", 1e-5)
    if tape.facts.types[call.x] != FLOAT16 or call.attributes.get("stash_type", FLOAT) != FLOAT:
        return {0: _standardised(tape, call.x, gradient, axes, tape.numbers(epsilon, call.x))}
    x, gradient = (tape.emit("Cast", name, to=FLOAT) for name in (call.x, gradient))
    wide = _standardised(tape, x, gradient, axes, tape.constant(np.asarray(epsilon, np.float32)))
    return {0: tape.emit("Cast", wide, to=FLOAT16)}


def _instance_norm(tape: Tape, call: Call) -> dict[int, str]:
    """Over the spatial axes."""
    _only_the_images_vary(call)
    batch_first(tape, call)
    gradient = tape.emit("Mul", call.gradient, _per_channel(tape, call, call.inputs[1], call.x))
    epsilon = tape.numbers(call.attributes.get("epsilon", 1e-5), call.x)
    return {0: _standardised(tape, call.x, gradient, list(range(2, tape.rank(call.x))), epsilon)}


def _lp_norm(tape: Tape, call: Call) -> dict[int, str]:
    """(g - d sum(g y)) / norm, where d is the norm's derivative: y for p = 2, the sign of x for p = 1.

    A norm of zero counts as one, as ONNX 22 and runtimes divide by it.
    """
    axis, p = axis_of(tape, call, -1), call.attributes.get("p", 2)
    without_batch(tape, call, [axis])
    norm = reduce(tape, "ReduceL2" if p == 2 else "ReduceL1", call.x, [axis], keep=True)
    none = tape.emit("Equal", norm, tape.numbers(0, call.x))
    norm = tape.emit("Where", none, tape.numbers(1, call.x), norm)
    total = reduce(tape, "ReduceSum", tape.emit("Mul", call.gradient, call.y), [axis], keep=True)
    derivative = call.y if p == 2 else tape.emit("Sign", call.x)
    return {0: tape.emit("Div", tape.emit("Sub", call.gradient, tape.emit("Mul", derivative, total)), norm)}


def _local_response_norm(tape: Tape, call: Call) -> dict[int, str]:
    """y = x s^-beta with s = bias + alpha / size * (sum of x^2 over neighbouring channels).

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 3.3.
    """
    batch_first(tape, call)
    size = call.attributes["size"]
    alpha, beta = call.attributes.get("alpha", 1e-4), call.attributes.get("beta", 0.75)
    rank, channels = tape.rank(call.x), tape.shape(call.x)[1]
    channel = np.arange(channels)
    apart = channel[:, None] - channel  # row: the element, column: the channel it is counted for
    band = (apart >= -((size - 1) // 2)) & (apart <= size // 2)
    total = along(tape, tape.emit("Mul", call.x, call.x), 1, rank, band, call.x)
    scaled = tape.emit("Mul", total, tape.numbers(alpha / size, call.x))
    s = tape.emit("Add", scaled, tape.numbers(call.attributes.get("bias", 1.0), call.x))
    direct = tape.emit("Mul", call.gradient, tape.emit("Pow", s, tape.numbers(-beta, call.x)))
    shared = tape.emit("Div", tape.emit("Mul", direct, call.x), s)
    back = along(tape, shared, 1, rank, band.T, call.x)
    indirect = tape.emit("Mul", tape.emit("Mul", call.x, back), tape.numbers(2 * alpha * beta / size, call.x))
    return {0: tape.emit("Sub", direct, indirect)}


RULES: dict[str, Rule] = {
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _lp_norm,
    "Softmax": _softmax,
}
