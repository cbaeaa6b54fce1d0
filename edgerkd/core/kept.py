"""What stands behind the figures of a verification, as plain data: its curve, times, and the file of its images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.ranges import Amount, Name, Positive, Sha256, Weight
from edgerkd.core.record import Record
from edgerkd.core.sequential import accuracy_anytime
from edgerkd.core.units import Radius

STEPS = 4
"""Points of a curve above radius 0. Ours."""
BINS = 24
"""Of a histogram. Ours."""
SLACK = 1e-6
"""Of float32, in which distances are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiusPoint(Record):
    """The share of images for which no change of length `eps` or less was found that fools."""

    eps: Radius
    robust_acc: Accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile(Record):
    """The file beside the report with its images and outcomes (bundle/kept.py), and its digest."""

    file: Name
    size: Amount
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Record):
    """Times in equal bins from `low` to `high` milliseconds, `counts` each; `above` took longer still."""

    low: Weight
    high: Positive
    counts: tuple[Amount, ...]
    above: Amount


def curve_of(distances: Iterable[float], eps: Radius) -> tuple[RadiusPoint, ...]:
    """From each image's distance to the nearest change that was found to fool, infinite where none was.

    An image that is answered wrong as it is has a distance of 0.
    """
    found = list(distances)
    return tuple(
        RadiusPoint(eps=at, robust_acc=accuracy_anytime(distance > float(at) + SLACK for distance in found))
        for at in (Radius(0), *radii_below(eps), eps)
    )


def radii_below(eps: Radius) -> tuple[Radius, ...]:
    """The radii of a curve between 0 and the one that was attacked."""
    return tuple(Radius(eps * step / STEPS) for step in range(1, STEPS))


def histogram_of(milliseconds: Sequence[float], *, p95: float) -> Histogram:
    """The times in BINS bins, from the shortest to as far above the 95th percentile as that is above it."""
    low = min(milliseconds)
    high = 2 * p95 - low
    width = (high - low) / BINS or 1.0
    counts = [0] * BINS
    below = [each for each in milliseconds if each <= high]
    for each in below:
        counts[min(BINS - 1, int((each - low) / width))] += 1
    return Histogram(low=low, high=high, counts=tuple(counts), above=len(milliseconds) - len(below))
