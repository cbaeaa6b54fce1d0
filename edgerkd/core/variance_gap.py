"""How far a network's answers move under attack, against its robust accuracy, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture
from edgerkd.core.correlation import LEAST, pearson
from edgerkd.core.ranges import Amount, Count, Name, Share, Weight, Within
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius

STRAIGHT = -0.9  # a correlation at most this is the published trend: four fifths of the variance on a line; ours

R = Annotated[float, Within(-1, 1)]

GAPS: Mapping[str, str] = MappingProxyType(
    {
        "covariance": "covariance distance",
        "gram": "Gram distance",
        "within_class": "within-class variance",
        "within_share": "within-class share",
        "between_class": "between-class variance",
        "total": "total variance",
    }
)
"""What each field of `Gaps` is called."""

FALLING = ("covariance", "gram", "within_class", "within_share")
"""The gaps with which robust accuracy should fall; the variance between classes and the total are no such gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps(Record):
    """How far attacked images' features lie from the same images' clean ones; all 0 where nothing moved.

    `covariance` and `gram` are relative distances, of the penultimate features' covariance and of the scores' Gram
    matrix. `within_class`, `between_class` and `total` are signed changes of the penultimate features' variance over
    its clean total: the first two add up to the third. `within_share` is the change of the within-class share of the
    total. Formulas: distill/variance_gap.py.
    """

    covariance: Weight
    gram: Weight
    within_class: float
    within_share: R
    between_class: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GapPoint(Record):
    """One network at one radius. At radius 0 there is no attack: every gap is 0, and the accuracy the clean one."""

    eps: Radius
    robust_acc: Accuracy
    gaps: Gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlations(Record):
    """Pearson's r of robust accuracy with each gap; None where one of the two is constant.

    Two are controls: `radius` over the radii of one network, `clean_acc` over networks at one radius.
    """

    radius: R | None
    clean_acc: R | None
    covariance: R | None
    gram: R | None
    within_class: R | None
    within_share: R | None
    between_class: R | None
    total: R | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkGaps(Record):
    """One network. `variance` and `within_share` are of clean images; `points` by rising radius, `r` over these."""

    name: Name
    architecture: Architecture
    variance: Weight
    within_share: Share
    points: tuple[GapPoint, ...]
    r: Correlations

    def at(self, eps: Radius) -> GapPoint:
        """The point of this radius. Raises StopIteration where there is none."""
        return next(point for point in self.points if point.eps == eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochGap(Record):
    """One epoch of the student's training, on the validation split."""

    epoch: Count
    robust_acc: Share
    within_share: R


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceGapReport(Record):
    """variance-gap.json: all networks on the same `n` images `of` the split's.

    `networks_r` is over the networks at the threat model's radius, None for fewer than three; `epochs_r` is over the
    epochs of training, which are none where they did not note the gap.
    """

    SCHEMA = 2

    run: Name
    split: Name
    n: Count
    of: Count
    threat_model: ThreatModel
    attack: Name
    seed: Amount
    networks: tuple[NetworkGaps, ...]
    networks_r: Correlations | None
    epochs: tuple[EpochGap, ...]
    epochs_r: R | None
    flags: tuple[str, ...]


def over_radii(points: Sequence[GapPoint]) -> Correlations:
    """Of the points of one network."""
    return _correlations(points, radius=pearson([float(point.eps) for point in points], _accuracies(points)))


def across(networks: Sequence[NetworkGaps], eps: Radius) -> Correlations | None:
    """Over the networks at one radius, each measured at radius 0 as well; None for fewer than three."""
    if len(networks) < LEAST:
        return None
    points, clean = [network.at(eps) for network in networks], [network.at(Radius(0)) for network in networks]
    return _correlations(points, clean_acc=pearson(_accuracies(clean), _accuracies(points)))


def _correlations(
    points: Sequence[GapPoint], *, radius: float | None = None, clean_acc: float | None = None
) -> Correlations:
    accuracies = _accuracies(points)
    found = {name: pearson([getattr(point.gaps, name) for point in points], accuracies) for name in GAPS}
    return Correlations(radius=radius, clean_acc=clean_acc, **found)


def _accuracies(points: Sequence[GapPoint]) -> Sequence[float]:
    return [point.robust_acc.value for point in points]


def off_trend(network: NetworkGaps) -> Sequence[str]:
    """A line for each gap that robust accuracy does not fall with along a line over the radii, and how it goes."""
    found = [(name, getattr(network.r, name)) for name in FALLING]
    return [
        f"{network.name}: over the radii robust accuracy does not fall along a line as the gap called {GAPS[name]} "
        f"grows: {'one of the two is the same at every radius' if r is None else f'r is {r:+.2f}'}"
        for name, r in found
        if r is None or r > STRAIGHT
    ]
