"""Whether a gradient twin tells the engine's own slopes, as plain data and the rule that judges it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Annotated, Literal

from edgerkd.core.ranges import Amount, Within
from edgerkd.core.record import Record

AGREE = {"fp32": 0.7, "fp16": 0.7, "int8": 0.5}
"""Concordance of a point that agrees: sizes within a factor of 2.4 (0.7) or 3.7 (0.5) of one another. Ours."""
STRAY = {"fp32": 0.02, "fp16": 0.03, "int8": 0.05}
"""Share of points at which a right twin may disagree, because of kinks and rounding. Ours, from
bench/gradient_check.py: none did in fp32, 4.1 % in int8 at worst; fp16 lies between and was not measured."""
ALARM = 0.005  # chance that a right twin with that share is refused by the count of its disagreements; ours
REQUIRED = {"fp32": 0.6, "fp16": 0.3, "int8": 0.0}
"""Mean concordance along random directions below which a twin is refused. Ours, likewise: right twins had 0.74 and
more in fp32, 0.05 and more in int8, whose rounding hides what moves the logits little."""

Failure = Literal["disagreeing", "correlation", "flat"]
Correlation = Annotated[float, Within(-1, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientCheck(Record):
    """Slopes predicted by the twin against slopes measured on the engine, at `points` random points.

    Each point is `agreeing`, `disagreeing` or `flat` (engine and twin both say that nothing changes there), by the
    direction that the twin itself calls steepest; more than `allowed` disagreeing ones are beyond chance.
    `correlation` is along random directions, the mean over the points that are not flat, with a 95 % interval
    (0, -1 and 1 where all are flat); below `required` it is too low. `ok` is that neither is so, and that at most half
    of the points are flat. Without an attack there are no points.
    """

    points: Amount
    agreeing: Amount
    disagreeing: Amount
    flat: Amount
    allowed: Amount
    correlation: Correlation
    low: Correlation
    high: Correlation
    required: Correlation
    ok: bool

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Why it is not `ok`: for the report's words."""
        if 2 * self.flat > self.points:
            return ("flat",)
        found: list[Failure] = []
        if self.disagreeing > self.allowed:
            found.append("disagreeing")
        if self.correlation < self.required:
            found.append("correlation")
        return tuple(found)


def judge_gradients(
    *, steepest: Sequence[float], random: Sequence[float], flat: Sequence[bool], precision: str
) -> GradientCheck:
    """The check of n points from their concordances along the steepest and the random directions, each -1 to 1.

    `precision` is a key of AGREE, STRAY and REQUIRED.
    """
    moving = [not each for each in flat]
    agreeing = sum(value >= AGREE[precision] for value, counts in zip(steepest, moving, strict=True) if counts)
    correlation, low, high = mean_interval([value for value, counts in zip(random, moving, strict=True) if counts])
    disagreeing = sum(moving) - agreeing
    allowed, required = allowed_disagreements(sum(moving), stray=STRAY[precision]), REQUIRED[precision]
    return GradientCheck(
        points=len(flat),
        agreeing=agreeing,
        disagreeing=disagreeing,
        flat=len(flat) - sum(moving),
        allowed=allowed,
        correlation=correlation,
        low=low,
        high=high,
        required=required,
        ok=2 * sum(moving) >= len(flat) and disagreeing <= allowed and correlation >= required,
    )


def concordance(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """2 sum(p m) / sum(p^2 + m^2): 1 for equal numbers, -1 for opposite ones, 0 for unrelated ones or where all are 0.

    Numbers s times too large give 2 s / (1 + s^2). Source: Lin 1989, Biometrics 45, eq. 2, with both means 0: a slope
    changes its sign with its direction.
    """
    size = sum(p * p + m * m for p, m in zip(predicted, measured, strict=True))
    product = sum(p * m for p, m in zip(predicted, measured, strict=True))
    return max(-1.0, min(1.0, 2 * product / size)) if size > 0 else 0.0


def allowed_disagreements(n: int, *, stray: float) -> int:
    """The least k with P(more than k of n disagree) at most ALARM, where each does with the chance `stray`.

    Source: the exact binomial test.
    """
    tail, k = 1.0, -1
    while tail > ALARM:
        k += 1
        tail -= comb(n, k) * stray**k * (1 - stray) ** (n - k)
    return k


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of numbers from -1 to 1 and its 95 % interval, by the normal distribution; 0, -1 and 1 for none."""
    if not values:
        return 0.0, -1.0, 1.0
    mean = fmean(values)
    if len(values) == 1:
        return mean, -1.0, 1.0
    half = NormalDist().inv_cdf(0.975) * stdev(values) / sqrt(len(values))
    return mean, max(-1.0, mean - half), min(1.0, mean + half)
