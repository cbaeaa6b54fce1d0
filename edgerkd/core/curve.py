"""Robust accuracy against the radius of the attack, as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture
from edgerkd.core.by_class import ByClass
from edgerkd.core.errors import ConfigError, problems_text
from edgerkd.core.ranges import Amount, Count, Name
from edgerkd.core.record import Record
from edgerkd.core.threat import Norm
from edgerkd.core.units import Radius


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint(Record):
    """At radius 0 there is no attack: that is the clean accuracy, as it is in `by_class`."""

    eps: Radius
    robust_acc: Accuracy
    by_class: ByClass


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsCurve(Record):
    """One network; `points` by rising radius, each attacked on its own."""

    name: Name
    architecture: Architecture
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveReport(Record):
    """curve.json: each network's robust accuracy against the radius, over the same `n` images `of` the split's."""

    SCHEMA = 1

    run: Name
    split: Name
    n: Count
    of: Count
    norm: Norm
    attacks: tuple[str, ...]
    seed: Amount
    curves: tuple[EpsCurve, ...]
    flags: tuple[str, ...]


def parse_radii(text: str) -> tuple[Radius, ...]:
    """Radii between commas, by size, each once. Raises ConfigError naming every one that is wrong."""
    tried = [_tried(part.strip()) for part in text.split(",")]
    if problems := [part for part in tried if isinstance(part, str)]:
        raise ConfigError(problems_text("--curve", problems))
    return tuple(sorted({part for part in tried if not isinstance(part, str)}))


def _tried(text: str) -> "Radius | str":
    """The radius, or what is wrong with it."""
    try:
        return Radius(text)
    except ConfigError as e:
        return str(e)


def rises(curve: EpsCurve) -> Sequence[str]:
    """A line for each radius at which the accuracy is higher than at a smaller one: there the attack is too weak."""
    return [
        f"{curve.name}: robust accuracy rises from {before.robust_acc.value:.1%} at {before.eps} to "
        f"{after.robust_acc.value:.1%} at {after.eps}. The larger ball contains the smaller one, so the attack is "
        "too weak there: use a stronger one"
        for before, after in pairwise(curve.points)
        if after.robust_acc.value > before.robust_acc.value
    ]
