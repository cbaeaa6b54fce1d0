"""Gradient rules of matrix products."""

from collections.abc import Sequence
from string import ascii_letters

from edgerkd.graphs.rules.build import expand, reshape, summed, unsqueeze
from edgerkd.graphs.rules.tape import Call, Rule, Tape


def _gemm(tape: Tape, call: Call) -> dict[int, str]:
    """Y = alpha A' B' + beta C, where ' transposes as the node says."""
    a, b = call.inputs[:2]
    alpha, beta = call.attributes.get("alpha", 1.0), call.attributes.get("beta", 1.0)
    over_a, over_b = int(call.attributes.get("transA", 0)), int(call.attributes.get("transB", 0))
    _contracts(call, tape.shape(a)[1 - over_a])
    parts: dict[int, str] = {}
    if 0 in call.varying and over_a:
        parts[0] = tape.emit("Gemm", b, call.gradient, transA=over_b, transB=1, alpha=alpha)
    elif 0 in call.varying:
        parts[0] = tape.emit("Gemm", call.gradient, b, transB=1 - over_b, alpha=alpha)
    if 1 in call.varying:
        _contracts(call, tape.shape(call.y)[0])
        first, second, over = (call.gradient, a, over_a) if over_b else (a, call.gradient, 0)
        parts[1] = tape.emit("Gemm", first, second, transA=1 if over_b else 1 - over_a, transB=over, alpha=alpha)
    if 2 in call.varying:
        scaled = call.gradient if beta == 1 else tape.emit("Mul", call.gradient, tape.numbers(beta, a))
        parts[2] = summed(tape, call, 2, scaled)
    return parts


def _contracts(call: Call, size: int) -> None:
    if size < 0:
        raise call.refusal("sums over the batch axis: the gradient of one image would depend on another")


def _matmul(tape: Tape, call: Call) -> dict[int, str]:
    """G B^T and A^T G, summed over broadcast axes; a vector counts as a matrix of one row, or of one column."""
    shapes = [list(tape.shape(name)) for name in call.inputs]
    names, gradient, out = list(call.inputs), call.gradient, list(tape.shape(call.y))
    vectors = [len(shape) == 1 for shape in shapes]
    if vectors[1]:
        gradient, out = unsqueeze(tape, gradient, [len(out)]), [*out, 1]
        names[1], shapes[1] = unsqueeze(tape, names[1], [1]), [*shapes[1], 1]
    if vectors[0]:
        gradient, out = unsqueeze(tape, gradient, [len(out) - 1]), [*out[:-1], 1, out[-1]]
        names[0], shapes[0] = unsqueeze(tape, names[0], [0]), [1, *shapes[0]]
    _contracts(call, shapes[0][-1])
    parts: dict[int, str] = {}
    for i in call.varying:
        _contracts(call, out[-1] if i == 0 else out[-2])
        other = _transposed(tape, names[1 - i], len(shapes[1 - i]))
        product = tape.emit("MatMul", gradient, other) if i == 0 else tape.emit("MatMul", other, gradient)
        if vectors[i]:
            matrix = [*out[:-2], *shapes[i][-2:]]
            product = reshape(tape, call, product, [*matrix[:-2], max(matrix[-2:], key=abs)])
            parts[i] = summed(tape, call, i, product, [*matrix[:-2], max(matrix[-2:], key=abs)])
        else:
            parts[i] = summed(tape, call, i, product, [*out[:-2], *shapes[i][-2:]])
    return parts


def _transposed(tape: Tape, name: str, rank: int) -> str:
    return tape.emit("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


def _einsum(tape: Tape, call: Call) -> dict[int, str]:
    """The product of the gradient and the other operands, summed to the operand's own indices.

    An index that only this operand has was summed away: the gradient is repeated along it.
    """
    terms, result = _equation(tape, call)
    sizes = {
        k: n for term, name in zip(terms, call.inputs, strict=True) for k, n in zip(term, tape.shape(name), strict=True)
    }
    for index, size in sizes.items():
        if index not in result:
            _contracts(call, size)
    parts: dict[int, str] = {}
    for i in call.varying:
        rest = [j for j in range(len(terms)) if j != i]
        given = set("".join([result, *(terms[j] for j in rest)]))
        for index in set("".join([result, *(terms[j] for j in rest)])) - set(terms[i]):
            _contracts(call, sizes[index])
        kept = "".join(index for index in terms[i] if index in given)
        equation = ",".join([result, *(terms[j] for j in rest)]) + "->" + kept
        part = tape.emit("Einsum", call.gradient, *(call.inputs[j] for j in rest), equation=equation)
        alone = [axis for axis, index in enumerate(terms[i]) if index not in given]
        parts[i] = expand(tape, unsqueeze(tape, part, alone), alone, tape.shape(call.inputs[i])) if alone else part
    return parts


def _equation(tape: Tape, call: Call) -> tuple[list[str], str]:
    """The indices of each operand and of the output, with letters of their own for what an ellipsis stands for."""
    text = call.attributes["equation"].decode().replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = sorted({index for term in terms for index in term if left.count(index) == 1 and index.isalpha()})
        result = ("..." if "..." in left else "") + "".join(letters)
    free = [letter for letter in ascii_letters if letter not in text]
    ranks = [tape.rank(name) - len(term.replace("...", "")) for term, name in zip(terms, call.inputs, strict=True)]
    longest = max((n for term, n in zip(terms, ranks, strict=True) if "..." in term), default=0)
    wide = [term.replace("...", _last(free[:longest], n)) for term, n in zip(terms, ranks, strict=True)]
    if any(len(set(term)) < len(term) for term in wide) or not _same_sizes(tape, call, wide):
        raise call.refusal("takes a diagonal or broadcasts: no gradient rule")
    return wide, result.replace("...", _last(free[:longest], longest))


def _last(letters: Sequence[str], n: int) -> str:
    return "".join(letters[len(letters) - n :])


def _same_sizes(tape: Tape, call: Call, terms: Sequence[str]) -> bool:
    pairs = {
        (k, n)
        for term, name in zip(terms, call.inputs, strict=True)
        for k, n in zip(term, tape.shape(name), strict=True)
    }
    return len(pairs) == len({index for index, _ in pairs})


RULES: dict[str, Rule] = {"Einsum": _einsum, "Gemm": _gemm, "MatMul": _matmul}
