"""Gradient rules of functions of single elements."""

import math
from collections.abc import Callable

from edgerkd.graphs.rules.build import masked, summed
from edgerkd.graphs.rules.tape import Call, Rule, Tape


def _times(derivative: Callable[[Tape, Call], str]) -> Rule:
    """The rule of a function of one input whose derivative is this graph."""

    def rule(tape: Tape, call: Call) -> dict[int, str]:
        return {0: tape.emit("Mul", call.gradient, derivative(tape, call))}

    return rule


def _identity(tape: Tape, call: Call) -> dict[int, str]:
    return {0: call.gradient}


def _round(tape: Tape, call: Call) -> dict[int, str]:
    """Straight through: the derivative, zero almost everywhere, would mask the network.

    Source: Bengio et al. 2013, arXiv 1308.3432, section 4; as an attack, BPDA: Athalye et al. 2018, arXiv 1802.00420.
    """
    return {0: call.gradient}


def _constant(tape: Tape, call: Call) -> dict[int, str]:
    """Constant between jumps."""
    return {}


def _relu(tape: Tape, call: Call) -> dict[int, str]:
    """Where the output is above zero; at zero the derivative is 0, as in torch."""
    positive = tape.emit("Greater", call.y, tape.numbers(0, call.x))
    return {0: masked(tape, call, positive, call.gradient)}


def _clip(tape: Tape, call: Call) -> dict[int, str]:
    """Where the output is strictly between the limits; at a limit the derivative is 0, as in torch's ReLU6."""
    gradient = call.gradient
    for comparison, limit in zip(("Greater", "Less"), call.inputs[1:], strict=False):
        if limit:  # an empty name: no such limit
            gradient = masked(tape, call, tape.emit(comparison, call.y, limit), gradient)
    return {0: gradient}


def _slope(tape: Tape, call: Call, ramp: str, slope: float, gradient: str) -> str:
    """The gradient through a hard sigmoid of this output: its slope strictly between 0 and 1, else 0."""
    gradient = tape.emit("Mul", gradient, tape.numbers(slope, call.x))
    gradient = masked(tape, call, tape.emit("Greater", ramp, tape.numbers(0, call.x)), gradient)
    return masked(tape, call, tape.emit("Less", ramp, tape.numbers(1, call.x)), gradient)


def _hard_sigmoid(tape: Tape, call: Call) -> dict[int, str]:
    """`alpha` is 0.2 unless said (ONNX)."""
    return {0: _slope(tape, call, call.y, call.attributes.get("alpha", 0.2), call.gradient)}


def _hard_swish(tape: Tape, call: Call) -> dict[int, str]:
    """The product rule for x and its hard sigmoid of slope 1/6."""
    gate = tape.emit("HardSigmoid", call.x, alpha=1 / 6, beta=0.5)
    direct, gated = tape.emit("Mul", call.gradient, gate), tape.emit("Mul", call.gradient, call.x)
    return {0: tape.emit("Add", direct, _slope(tape, call, gate, 1 / 6, gated))}


def _piecewise(below: Callable[[Tape, Call], str]) -> Rule:
    """The rule of a function that is the identity above zero, and has this derivative elsewhere."""

    def rule(tape: Tape, call: Call) -> dict[int, str]:
        positive = tape.emit("Greater", call.x, tape.numbers(0, call.x))
        negative = tape.emit("Mul", call.gradient, below(tape, call))
        return {0: tape.emit("Where", positive, call.gradient, negative)}

    return rule


def _leaky(tape: Tape, call: Call) -> str:
    return tape.numbers(call.attributes.get("alpha", 0.01), call.x)


def _elu_below(tape: Tape, call: Call) -> str:
    """alpha exp(x) = y + alpha."""
    return tape.emit("Add", call.y, tape.numbers(call.attributes.get("alpha", 1.0), call.x))


def _celu_below(tape: Tape, call: Call) -> str:
    """exp(x / alpha) = y / alpha + 1."""
    scaled = tape.emit("Div", call.y, tape.numbers(call.attributes.get("alpha", 1.0), call.x))
    return tape.emit("Add", scaled, tape.numbers(1, call.x))


def _selu(tape: Tape, call: Call) -> dict[int, str]:
    """gamma above zero, gamma alpha exp(x) = y + gamma alpha below. Constants: ONNX, Selu-6."""
    alpha = call.attributes.get("alpha", 1.67326319217681884765625)
    gamma = call.attributes.get("gamma", 1.05070102214813232421875)
    below = tape.emit("Add", call.y, tape.numbers(alpha * gamma, call.x))
    positive = tape.emit("Greater", call.x, tape.numbers(0, call.x))
    return {0: tape.emit("Mul", call.gradient, tape.emit("Where", positive, tape.numbers(gamma, call.x), below))}


def _thresholded(tape: Tape, call: Call) -> dict[int, str]:
    above = tape.emit("Greater", call.x, tape.numbers(call.attributes.get("alpha", 1.0), call.x))
    return {0: masked(tape, call, above, call.gradient)}


def _prelu(tape: Tape, call: Call) -> dict[int, str]:
    """The slope below zero is the second input."""
    positive = tape.emit("Greater", call.x, tape.numbers(0, call.x))
    parts: dict[int, str] = {}
    if 0 in call.varying:
        sloped = tape.emit("Mul", call.gradient, call.inputs[1])
        parts[0] = tape.emit("Where", positive, call.gradient, sloped)
    if 1 in call.varying:
        below = tape.emit("Where", positive, tape.numbers(0, call.x), tape.emit("Mul", call.gradient, call.x))
        parts[1] = summed(tape, call, 1, below)
    return parts


def _one_minus(tape: Tape, call: Call, value: str) -> str:
    return tape.emit("Sub", tape.numbers(1, call.x), value)


def _sigmoid(tape: Tape, call: Call) -> str:
    """y (1 - y)."""
    return tape.emit("Mul", call.y, _one_minus(tape, call, call.y))


def _tanh(tape: Tape, call: Call) -> str:
    """1 - y^2."""
    return _one_minus(tape, call, tape.emit("Mul", call.y, call.y))


def _bell(tape: Tape, call: Call, scale: float, factor: float) -> str:
    """factor exp(-scale x^2)."""
    square = tape.emit("Mul", tape.emit("Mul", call.x, call.x), tape.numbers(-scale, call.x))
    return tape.emit("Mul", tape.emit("Exp", square), tape.numbers(factor, call.x))


def _erf(tape: Tape, call: Call) -> str:
    """2 / sqrt(pi) exp(-x^2)."""
    return _bell(tape, call, 1, 2 / math.sqrt(math.pi))


def _gelu(tape: Tape, call: Call) -> str:
    """Phi(x) + x phi(x), or the derivative of the form with tanh. Source: Hendrycks & Gimpel 2016, arXiv 1606.08415."""
    half = tape.numbers(0.5, call.x)
    if call.attributes.get("approximate", b"none") == b"tanh":
        return _gelu_tanh(tape, call, half)
    root = tape.emit("Mul", call.x, tape.numbers(math.sqrt(0.5), call.x))
    cumulative = tape.emit("Add", tape.emit("Mul", tape.emit("Erf", root), half), half)
    density = _bell(tape, call, 0.5, 1 / math.sqrt(2 * math.pi))
    return tape.emit("Add", cumulative, tape.emit("Mul", call.x, density))


def _gelu_tanh(tape: Tape, call: Call, half: str) -> str:
    """(1 + t) / 2 + x (1 - t^2) / 2 * c (1 + 3 b x^2) with t = tanh(c (x + b x^3)), b = 0.044715, c = sqrt(2 / pi)."""
    one, c = tape.numbers(1, call.x), math.sqrt(2 / math.pi)
    square = tape.emit("Mul", call.x, call.x)
    cubic = tape.emit("Add", tape.emit("Mul", square, tape.numbers(0.044715, call.x)), one)
    inner = tape.emit("Mul", tape.emit("Mul", cubic, call.x), tape.numbers(c, call.x))
    t = tape.emit("Tanh", inner)
    slope = tape.emit("Add", tape.emit("Mul", square, tape.numbers(3 * 0.044715 * c, call.x)), tape.numbers(c, call.x))
    rest = tape.emit("Mul", tape.emit("Mul", _one_minus(tape, call, tape.emit("Mul", t, t)), slope), call.x)
    return tape.emit("Mul", tape.emit("Sum", one, t, rest), half)


def _mish(tape: Tape, call: Call) -> str:
    """t + x (1 - t^2) sigmoid(x) with t = tanh(softplus(x)). Source: Misra 2019, arXiv 1908.08681."""
    t = tape.emit("Tanh", tape.emit("Softplus", call.x))
    rest = tape.emit("Mul", _one_minus(tape, call, tape.emit("Mul", t, t)), tape.emit("Sigmoid", call.x))
    return tape.emit("Add", t, tape.emit("Mul", call.x, rest))


def _softsign(tape: Tape, call: Call) -> str:
    """(1 - |y|)^2."""
    rest = _one_minus(tape, call, tape.emit("Abs", call.y))
    return tape.emit("Mul", rest, rest)


def _sqrt(tape: Tape, call: Call) -> dict[int, str]:
    return {0: tape.emit("Div", tape.emit("Mul", call.gradient, tape.numbers(0.5, call.x)), call.y)}


def _reciprocal(tape: Tape, call: Call) -> str:
    """-y^2."""
    return tape.emit("Neg", tape.emit("Mul", call.y, call.y))


def _cast(tape: Tape, call: Call) -> dict[int, str]:
    """The gradient in the input's type; none passes an integer."""
    return {0: tape.emit("Cast", call.gradient, to=tape.facts.types[call.x])}


def _add(tape: Tape, call: Call) -> dict[int, str]:
    return {i: summed(tape, call, i, call.gradient) for i in call.varying}


def _sub(tape: Tape, call: Call) -> dict[int, str]:
    parts = {i: call.gradient if i == 0 else tape.emit("Neg", call.gradient) for i in call.varying}
    return {i: summed(tape, call, i, part) for i, part in parts.items()}


def _mul(tape: Tape, call: Call) -> dict[int, str]:
    parts = {i: tape.emit("Mul", call.gradient, call.inputs[1 - i]) for i in call.varying}
    return {i: summed(tape, call, i, part) for i, part in parts.items()}


def _div(tape: Tape, call: Call) -> dict[int, str]:
    """1 / b and -y / b."""
    quotient = tape.emit("Div", call.gradient, call.inputs[1])
    parts: dict[int, str] = {}
    if 0 in call.varying:
        parts[0] = summed(tape, call, 0, quotient)
    if 1 in call.varying:
        parts[1] = summed(tape, call, 1, tape.emit("Neg", tape.emit("Mul", quotient, call.y)))
    return parts


def _pow(tape: Tape, call: Call) -> dict[int, str]:
    """b a^(b - 1) and y log(a), the latter 0 where a is, as in torch."""
    base, exponent = call.inputs[:2]
    if tape.facts.types[base] != tape.facts.types[exponent]:
        exponent = tape.emit("Cast", exponent, to=tape.facts.types[base])
    parts: dict[int, str] = {}
    if 0 in call.varying:
        less = tape.emit("Pow", base, tape.emit("Sub", exponent, tape.numbers(1, base)))
        slope = tape.emit("Mul", exponent, less)
        parts[0] = summed(tape, call, 0, tape.emit("Mul", call.gradient, slope))
    if 1 in call.varying:
        zero = tape.emit("Equal", base, tape.numbers(0, base))
        logarithm = tape.emit("Log", tape.emit("Where", zero, tape.numbers(1, base), base))
        slope = tape.emit("Mul", call.y, logarithm)
        parts[1] = summed(tape, call, 1, tape.emit("Mul", call.gradient, slope))
    return parts


def _extreme(tape: Tape, call: Call) -> dict[int, str]:
    """To the inputs that equal the output, in equal parts, as in torch."""
    hits = [tape.emit("Cast", tape.emit("Equal", x, call.y), to=tape.facts.types[call.x]) for x in call.inputs]
    share = tape.emit("Div", call.gradient, tape.emit("Sum", *hits))
    return {i: summed(tape, call, i, tape.emit("Mul", share, hits[i])) for i in call.varying}


def _mean(tape: Tape, call: Call) -> dict[int, str]:
    share = tape.emit("Mul", call.gradient, tape.numbers(1 / len(call.inputs), call.x))
    return {i: summed(tape, call, i, share) for i in call.varying}


def _where(tape: Tape, call: Call) -> dict[int, str]:
    """To the input that was taken."""
    condition, zero = call.x, tape.numbers(0, call.y)
    parts = {1: (call.gradient, zero), 2: (zero, call.gradient)}
    return {i: summed(tape, call, i, tape.emit("Where", condition, *parts[i])) for i in call.varying}


RULES: dict[str, Rule] = {
    "Abs": _times(lambda tape, call: tape.emit("Sign", call.x)),
    "Add": _add,
    "Cast": _cast,
    "Ceil": _constant,
    "Celu": _piecewise(_celu_below),
    "Clip": _clip,
    "Cos": _times(lambda tape, call: tape.emit("Neg", tape.emit("Sin", call.x))),
    "Div": _div,
    "Dropout": _identity,
    "Elu": _piecewise(_elu_below),
    "Erf": _times(_erf),
    "Exp": _times(lambda tape, call: call.y),
    "Floor": _constant,
    "Gelu": _times(_gelu),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _identity,
    "LeakyRelu": _piecewise(_leaky),
    "Log": lambda tape, call: {0: tape.emit("Div", call.gradient, call.x)},
    "Max": _extreme,
    "Mean": _mean,
    "Min": _extreme,
    "Mish": _times(_mish),
    "Mul": _mul,
    "Neg": lambda tape, call: {0: tape.emit("Neg", call.gradient)},
    "PRelu": _prelu,
    "Pow": _pow,
    "Reciprocal": _times(_reciprocal),
    "Relu": _relu,
    "Round": _round,
    "Selu": _selu,
    "Sigmoid": _times(_sigmoid),
    "Sign": _constant,
    "Sin": _times(lambda tape, call: tape.emit("Cos", call.x)),
    "Softplus": _times(lambda tape, call: tape.emit("Sigmoid", call.x)),
    "Softsign": _times(_softsign),
    "Sqrt": _sqrt,
    "Sub": _sub,
    "Sum": _add,
    "Tanh": _times(_tanh),
    "ThresholdedRelu": _thresholded,
    "Where": _where,
}
