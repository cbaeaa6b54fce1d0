"""How straight a line two rows of numbers lie on, and how sure that is."""

from collections.abc import Sequence
from math import atanh, sqrt, tanh
from statistics import StatisticsError, correlation

from edgerkd.core.accuracy import Z95

LEAST = 3  # points: two always lie on a line


def pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's r, from -1 to 1; None for fewer than three points, and where `x` or `y` is constant."""
    if len(x) < LEAST:
        return None
    try:
        return max(-1.0, min(1.0, correlation(x, y)))  # rounding may lead beyond
    except StatisticsError:
        return None


def fisher_interval(r: float, n: int) -> tuple[float, float] | None:
    """The 95 % interval of a correlation `r` of `n` independent pairs; None for fewer than four, and for r of +-1.

    Source: Fisher 1921, Metron 1: atanh(r) is nearly normal, with a standard deviation of 1 / sqrt(n - 3).
    """
    if n < LEAST + 1 or abs(r) >= 1:
        return None
    half = Z95 / sqrt(n - 3)
    return tanh(atanh(r) - half), tanh(atanh(r) + half)
