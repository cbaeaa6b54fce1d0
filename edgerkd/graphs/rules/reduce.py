"""Gradient rules of reductions over axes, among them the global pools."""

from collections.abc import Callable, Sequence
from math import prod

from edgerkd.graphs.rules.build import batch_first, expand, reduce, unsqueeze, without_batch
from edgerkd.graphs.rules.tape import Call, Rule, Tape

Spread = Callable[[Tape, Call, str, str, Sequence[int]], str]
"""(tape, node, gradient, output, axes) -> the input's gradient; the output and its gradient keep the reduced axes."""


def _axes(tape: Tape, call: Call) -> list[int]:
    """The axes that a reduction takes, by attribute or by input; all of them unless it says otherwise."""
    given = tape.value(call, 1)
    axes = call.attributes.get("axes", []) if given is None else given.tolist()
    rank = tape.rank(call.x)
    if not axes and not call.attributes.get("noop_with_empty_axes", 0):
        axes = range(rank)
    return sorted(axis % rank for axis in axes)


def _over_axes(spread: Spread) -> Rule:
    def rule(tape: Tape, call: Call) -> dict[int, str]:
        axes = _axes(tape, call)
        without_batch(tape, call, axes)
        gradient, output = call.gradient, call.y
        if axes and not call.attributes.get("keepdims", 1):
            gradient, output = unsqueeze(tape, gradient, axes), unsqueeze(tape, output, axes)
        return {0: spread(tape, call, gradient, output, axes)}

    return rule


def _global(spread: Spread) -> Rule:
    def rule(tape: Tape, call: Call) -> dict[int, str]:
        batch_first(tape, call)
        return {0: spread(tape, call, call.gradient, call.y, range(2, tape.rank(call.x)))}

    return rule


def _sum(tape: Tape, call: Call, gradient: str, output: str, axes: Sequence[int]) -> str:
    return expand(tape, gradient, axes, tape.shape(call.x)) if axes else gradient


def _mean(tape: Tape, call: Call, gradient: str, output: str, axes: Sequence[int]) -> str:
    n = prod(tape.shape(call.x)[axis] for axis in axes)
    share = tape.emit("Mul", gradient, tape.numbers(1 / n, call.x))
    return _sum(tape, call, share, output, axes)


def _extreme(tape: Tape, call: Call, gradient: str, output: str, axes: Sequence[int]) -> str:
    """To the elements that equal the output, in equal parts, as in torch's amax."""
    hits = tape.emit("Cast", tape.emit("Equal", call.x, output), to=tape.facts.types[call.x])
    count = reduce(tape, "ReduceSum", hits, axes, keep=True)
    return tape.emit("Mul", hits, tape.emit("Div", gradient, count))


def _l1(tape: Tape, call: Call, gradient: str, output: str, axes: Sequence[int]) -> str:
    return tape.emit("Mul", tape.emit("Sign", call.x), gradient)


def _l2(tape: Tape, call: Call, gradient: str, output: str, axes: Sequence[int]) -> str:
    """x / y; zero where all elements are, as in torch."""
    none = tape.emit("Equal", output, tape.numbers(0, call.x))
    divisor = tape.emit("Where", none, tape.numbers(1, call.x), output)
    return tape.emit("Mul", call.x, tape.emit("Div", gradient, divisor))


def _square(tape: Tape, call: Call, gradient: str, output: str, axes: Sequence[int]) -> str:
    return tape.emit("Mul", call.x, tape.emit("Mul", gradient, tape.numbers(2, call.x)))


def _log_sum(tape: Tape, call: Call, gradient: str, output: str, axes: Sequence[int]) -> str:
    share = tape.emit("Mul", gradient, tape.emit("Exp", tape.emit("Neg", output)))
    return _sum(tape, call, share, output, axes)


def _log_sum_exp(tape: Tape, call: Call, gradient: str, output: str, axes: Sequence[int]) -> str:
    return tape.emit("Mul", gradient, tape.emit("Exp", tape.emit("Sub", call.x, output)))


RULES: dict[str, Rule] = {
    "GlobalAveragePool": _global(_mean),
    "GlobalMaxPool": _global(_extreme),
    "ReduceL1": _over_axes(_l1),
    "ReduceL2": _over_axes(_l2),
    "ReduceLogSum": _over_axes(_log_sum),
    "ReduceLogSumExp": _over_axes(_log_sum_exp),
    "ReduceMax": _over_axes(_extreme),
    "ReduceMean": _over_axes(_mean),
    "ReduceMin": _over_axes(_extreme),
    "ReduceSum": _over_axes(_sum),
    "ReduceSumSquare": _over_axes(_square),
}
