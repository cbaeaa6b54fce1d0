"""Two networks on the same images: how much more robust is one, and could that be chance?"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Annotated, Any

from edgerkd.core.accuracy import wilson_interval
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.flag import Flag
from edgerkd.core.ranges import Amount, Share, Within
from edgerkd.core.record import Record

Difference = Annotated[float, Within(-1, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired(Record):
    """Images both got right, only the first, only the second, neither.

    `difference` is the first's accuracy less the second's, `low` to `high` its 95 % interval, `p_value` that
    of McNemar's exact test: how likely so uneven a split of the images they differ on is between equals.
    """

    both: Amount
    only_first: Amount
    only_second: Amount
    neither: Amount
    difference: Difference
    low: Difference
    high: Difference
    p_value: Share

    def __str__(self) -> str:
        return f"{100 * self.difference:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}] points"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Record):
    """comparison.json: two students under the same attacks on the same images; `clean` and `robust` pair them.

    Each evaluation's `name` is the folder of its run.
    """

    SCHEMA = 1

    first: Evaluation
    second: Evaluation
    clean: Paired
    robust: Paired
    flags: tuple[Flag, ...]


def paired(first: Iterable[Any], second: Iterable[Any]) -> Paired:
    """Compare answers, right (true) or wrong (false), to the same images in the same order."""
    answers = [(bool(a), bool(b)) for a, b in zip(first, second, strict=True)]
    both, only_first, only_second, neither = (
        answers.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))
    )
    n = len(answers)
    low, high = newcombe_interval(both, only_first, only_second, neither)
    return Paired(
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=neither,
        difference=(only_first - only_second) / n if n else 0.0,
        low=low,
        high=high,
        p_value=mcnemar_exact(only_first, only_second),
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """The two-sided exact p value: twice the binomial tail at one half. Source: McNemar 1947; Liddell 1983."""
    m, fewer = only_first + only_second, min(only_first, only_second)
    ways, tail = 1, 1
    for k in range(fewer):
        ways = ways * (m - k) // (k + 1)
        tail += ways
    return float(min(Fraction(1), Fraction(2 * tail, 2**m)))


def newcombe_interval(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """The 95 % interval of the difference of two paired shares, from the Wilson intervals of each.

    Source: Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10 (hybrid score).
    """
    n = both + only_first + only_second + neither
    if n == 0:
        return -1.0, 1.0
    a, b = both + only_first, both + only_second
    (low_a, high_a), (low_b, high_b) = wilson_interval(a, n), wilson_interval(b, n)
    p, q = a / n, b / n
    together = both * neither - only_first * only_second
    if together > 0:
        together = max(0.0, together - n / 2)
    product = a * (n - a) * b * (n - b)
    phi = together / sqrt(product) if product else 0.0

    def side(x: float, y: float) -> float:
        return sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    return max(-1.0, p - q - side(p - low_a, high_b - q)), min(1.0, p - q + side(high_a - p, q - low_b))
