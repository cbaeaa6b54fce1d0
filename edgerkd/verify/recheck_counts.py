"""Accuracies of a report as counts of images, each with the interval that belongs to it."""

import math
from collections.abc import Iterator

from edgerkd.core.accuracy import Accuracy, wilson_interval
from edgerkd.core.sequential import bounds, share

ROUNDING = 1e-9
"""Of figures that were computed, written as text and read again."""


def counted(key: str, accuracy: Accuracy, *, anytime: bool) -> Iterator[str]:
    """It is a count of images, with the interval of a fixed sample or of one that may end at `anytime`."""
    hits = accuracy.value * accuracy.n
    if abs(hits - round(hits)) > 1e-6 or (accuracy.n == 0 and accuracy.value):
        yield f"{key}.value: {accuracy.value} is no whole number of {accuracy.n} images"
        return
    count = round(hits)
    expected = bounds(share(count, accuracy.n)) if anytime else wilson_interval(count, accuracy.n)
    if not _near((accuracy.low, accuracy.high), expected):
        yield f"{key}.low, {key}.high: not the interval of {count} of {accuracy.n}"


def _near(found: tuple[float, float], expected: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, abs_tol=ROUNDING) for a, b in zip(found, expected, strict=True))
