"""How far a network's features spread under attack, against its robust accuracy, as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import StatisticsError, correlation
from typing import Annotated

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture
from edgerkd.core.ranges import Amount, Count, Name, Share, Weight, Within
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius

STRAIGHT = -0.9  # a correlation at most this is the published trend: four fifths of the variance on a line; ours
LEAST = 3  # points: two always lie on a line

R = Annotated[float, Within(-1, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GapPoint(Record):
    """One radius. At radius 0 there is no attack: every gap is 0, and the accuracy the clean one.

    `gap` is the variance of adversarial features less that of clean ones, `relative_gap` the same over the latter;
    `gram_gap` is that of the norm of the Gram matrix of prediction scores (distill/variance_gap.py).
    """

    eps: Radius
    robust_acc: Accuracy
    gap: float
    relative_gap: float
    gram_gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkGaps(Record):
    """One network. `variance` and `gram` are of clean images; `points` by rising radius.

    `r` and `gram_r` correlate robust accuracy with `gap` and `gram_gap` over the radii, None where one is constant.
    """

    name: Name
    architecture: Architecture
    variance: Weight
    gram: Weight
    points: tuple[GapPoint, ...]
    r: R | None
    gram_r: R | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochGap(Record):
    """One epoch of the student's training, on the validation split."""

    epoch: Count
    robust_acc: Share
    relative_gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceGapReport(Record):
    """variance-gap.json: all networks on the same `n` images `of` the split's.

    `networks_r` correlates robust accuracy with `relative_gap` over the networks, at the threat model's radius;
    `epochs_r` over the epochs of training, which are none where they did not note the gap.
    """

    SCHEMA = 1

    run: Name
    split: Name
    n: Count
    of: Count
    threat_model: ThreatModel
    attack: Name
    seed: Amount
    networks: tuple[NetworkGaps, ...]
    networks_r: R | None
    epochs: tuple[EpochGap, ...]
    epochs_r: R | None
    flags: tuple[str, ...]


def pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's r; None for fewer than three points, and where `x` or `y` is constant."""
    if len(x) < LEAST:
        return None
    try:
        return correlation(x, y)
    except StatisticsError:
        return None


def off_trend(network: NetworkGaps) -> Sequence[str]:
    """A line for each gap that robust accuracy does not fall with along a line, and how it goes instead."""
    gaps = {
        "feature variance": (network.r, [point.gap for point in network.points]),
        "the scores' Gram matrix": (network.gram_r, [point.gram_gap for point in network.points]),
    }
    return [
        f"{network.name}: robust accuracy does not fall along a line as the gap of {what} grows: {_instead(r, values)}"
        for what, (r, values) in gaps.items()
        if r is None or r > STRAIGHT
    ]


def _instead(r: float | None, gaps: Sequence[float]) -> str:
    if r is None:
        return "one of the two is the same at every radius"
    if max(gaps) <= 0:
        return (
            f"r is {r:+.2f}, and the gap is below 0 throughout: attacked, they draw together (r of its size {-r:+.2f})"
        )
    return f"r is {r:+.2f}"
