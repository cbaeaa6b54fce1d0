"""A measured share of images, and how far it can be trusted."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

from edgerkd.core.ranges import Amount, Share
from edgerkd.core.record import Record

Z95 = 1.959963984540054  # the standard normal's 97.5 % quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy(Record):
    """`value` of `n` images, with an interval `low` to `high`, whose level its maker says; all are fractions 0 to 1."""

    value: Share
    n: Amount
    low: Share
    high: Share

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"the interval {self.low} to {self.high} does not hold the value {self.value}")

    @property
    def hits(self) -> int:
        """How many images were answered right."""
        return round(self.value * self.n)

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share. Source: Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = hits / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the bound is the point itself; rounding must not push it inside.
    return (0.0 if hits == 0 else max(0.0, centre - half)), (1.0 if hits == n else min(1.0, centre + half))


def accuracy_from_correct(correct: Iterable[Any]) -> Accuracy:
    """The accuracy of a sequence of right (true) and wrong (false) answers."""
    answers = [bool(c) for c in correct]
    hits, n = sum(answers), len(answers)
    low, high = wilson_interval(hits, n)
    return Accuracy(value=hits / n if n else 0.0, n=n, low=low, high=high)
