"""Robust accuracy against the radius of the attack, as plain data."""

from dataclasses import dataclass

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture
from edgerkd.core.by_class import ByClass
from edgerkd.core.errors import ConfigError, problems_text
from edgerkd.core.flag import Flag
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
    attacks: tuple[Name, ...]
    seed: Amount
    curves: tuple[EpsCurve, ...]
    flags: tuple[Flag, ...]


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
