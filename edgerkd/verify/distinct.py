"""Which images a verdict may count: one image shown twice is one image's worth of evidence."""

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.backend import FloatArray
from edgerkd.core.threat import Norm

SCREEN = 64  # of an image's values, those that vary most: most pairs differ by more than eps there already
_SLACK = 1e-6  # of float32, beside pixels that are multiples of 1/255


def distinct(images: FloatArray, *, eps: float, norm: Norm) -> NDArray[np.int64]:
    """The rows of the images (n, c, h, w) to which no earlier one of these is within `eps`, ascending.

    Within the radius an attacker could have made one of the other, so that an engine which resists on one has shown
    little more by the other. Ours.
    """
    flat = np.reshape(images, (len(images), -1))
    screen = flat[:, np.argsort(flat.var(0))[-SCREEN:]]
    kept: list[int] = []
    for row in range(len(flat)):
        near = [kept[i] for i in np.flatnonzero(within(screen[kept], screen[row], eps, norm))]
        if not within(flat[near], flat[row], eps, norm).any():
            kept.append(row)
    return np.asarray(kept, np.int64)


def within(images: FloatArray, image: FloatArray, eps: float, norm: Norm) -> NDArray[np.bool_]:
    """Whether each of the images (n, d) differs from one (d,) by at most eps."""
    moved = images - image
    length = np.abs(moved).max(1, initial=0) if norm == "Linf" else np.sqrt(np.square(moved).sum(1))
    return length <= eps + _SLACK
