"""What is sure after so many images, however often one looks: the interval of a share, and of a ratio of two.

The images are taken for independent draws from a population, and what is bounded is the population's share, as a fixed
sample's interval bounds it. Looking after every chunk and stopping when it suits does not make these intervals wrong.

A candidate value is refuted by betting against it. A gambler who starts with 1 stakes a share `u` of what he owns on
each image; if the candidate is true no strategy gains on average, so that he ever owns 1 / error with a chance of at
most `error` (Ville's inequality). All stakes are played side by side, each with an equal part of the 1.
Source: Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting, arXiv 2010.09686,
section 4 (the capital process); the mean over a grid of stakes is their diversified Kelly bettor. For a share this is
Robbins' mixture of likelihood ratios (1970, Annals of Mathematical Statistics 41) with a uniform prior on one side of
the candidate, and has a closed form. What the gambler owns depends on how often each outcome was seen, not on their
order: an interval can be computed again from counts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, log, log1p
from typing import Any

from edgerkd.core.accuracy import Accuracy

ERROR = 0.01
"""Chance that a bound is wrong at any time. Ours, with what is shared among the gates: see docs/adr/0028."""
STAKES = 64
_HALVINGS = 24
FURTHEST = 1_000_000  # images, beyond which nobody wants to hear how many would do; ours


@dataclass(frozen=True, slots=True)
class Tally:
    """How often engine and host are right `both`, only one of them; where neither is, nothing is learned of a ratio.

    A plain share of right answers is the ratio to a host that is always right: `paired` is False.
    """

    both: float
    only_engine: float
    only_host: float
    paired: bool

    @property
    def value(self) -> float:
        """The engine's share over the host's, 0 where the host has none."""
        host = self.both + self.only_host
        return (self.both + self.only_engine) / host if host else 0.0

    def times(self, factor: float) -> "Tally":
        """So many times as much of the same."""
        return Tally(self.both * factor, self.only_engine * factor, self.only_host * factor, self.paired)


def share(hits: int, n: int) -> Tally:
    """`hits` of `n`."""
    return Tally(hits, 0, n - hits, paired=False)


def against_at_most(tally: Tally, value: float) -> float:
    """The logarithm of what betting against "at most `value`" (above 0) has gained.

    The stakes are on engine - value * host, which is at least -value.
    """
    return _gained(
        ((tally.both, 1 / value - 1), (tally.only_engine, 1 / value), (tally.only_host, -1.0)),
    )


def against_at_least(tally: Tally, value: float) -> float:
    """The same against "at least `value`": the stakes are on value * host - engine.

    That is at least -1 of a pair, and at least value - 1, below 0, of a share.
    """
    least = 1.0 if tally.paired else 1 - value
    return _gained(
        (
            (tally.both, (value - 1) / least),
            (tally.only_engine, -1 / least),
            (tally.only_host, value / least),
        ),
    )


def _gained(outcomes: Iterable[tuple[float, float]]) -> float:
    """ln of the mean over the stakes u in (0, 1) of prod (1 + u x)^count, for (count, x) with x at least -1."""
    seen = [(count, x) for count, x in outcomes if count]
    stakes = [(k + 0.5) / STAKES for k in range(STAKES)]
    logs = [sum(count * log1p(u * x) for count, x in seen) for u in stakes]
    most = max(logs)
    return most + log(sum(exp(each - most) for each in logs) / STAKES)


def surely_reached(tally: Tally, required: float) -> bool:
    """Whether the low end of the interval is at or above what is required, without looking for where it is."""
    return required <= 0 or (tally.value > required and against_at_most(tally, required) >= -log(ERROR))


def surely_missed(tally: Tally, required: float, *, gates: int = 1) -> bool:
    """Whether the high end is below it."""
    return tally.value < required and against_at_least(tally, required) >= -log(ERROR / gates)


@lru_cache(maxsize=4096)
def bounds(tally: Tally, *, gates: int = 1) -> tuple[float, float]:
    """The low and high end of the interval.

    The low end is wrong with a chance of at most ERROR, at any time; the high ends of so many `gates` together. A pass
    that is wrong takes one low end that is wrong, that of a gate which is not met; a fail that is wrong takes any one
    of the high ends.
    """
    above, below = -log(ERROR), -log(ERROR / gates)
    value = tally.value
    if not tally.both + tally.only_host:
        return 0.0, 1.0
    low = _last(lambda v: against_at_most(tally, v) >= above, 0.0, value) if value else 0.0
    return low, _high(tally, value, below)


def _high(tally: Tally, value: float, enough: float) -> float:
    if not tally.paired:
        if value >= 1:
            return 1.0
        return _last(lambda v: v >= 1 or against_at_least(tally, v) >= enough, 1.0, value)
    furthest = max(1.0, value)
    while against_at_least(tally, furthest) < enough:
        furthest *= 2
    return _last(lambda v: against_at_least(tally, v) >= enough, furthest, value)


def _last(refuted: Callable[[float], bool], far: float, near: float) -> float:
    """The last value refuted on the way from `far`, which is, to `near`, which is not."""
    for _ in range(_HALVINGS):
        middle = (far + near) / 2
        far, near = (middle, near) if refuted(middle) else (far, middle)
    return far


def accuracy_anytime(correct: Iterable[Any]) -> Accuracy:
    """The accuracy of a sequence of right (true) and wrong (false) answers, with an interval that always holds."""
    answers = [bool(each) for each in correct]
    tally = share(sum(answers), len(answers))
    low, high = bounds(tally)
    return Accuracy(value=tally.value, n=len(answers), low=low, high=high)


def images_needed(tally: Tally, n: int, required: float, *, gates: int = 1) -> int | None:
    """How many images in all, if they go on like these `n`, settle whether `required` is reached.

    None where more than FURTHEST would be needed, as where exactly what is required was measured.
    """
    if tally.value > required:
        enough, gained = -log(ERROR), against_at_most
    else:
        enough, gained = -log(ERROR / gates), against_at_least

    def settled(images: float) -> bool:
        return gained(tally.times(images / n), required) >= enough

    if not n or not required > 0 or not settled(FURTHEST):
        return None
    return ceil(_last(settled, FURTHEST, n)) if not settled(n) else n
