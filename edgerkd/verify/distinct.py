"""Which images a verdict may count: one image shown twice is one image's worth of evidence."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.backend import FloatArray
from edgerkd.core.threat import Norm

COPIED = 0.05
"""Of an image's values, the share that may differ by more than eps from another's in a copy of it: else a few pixels
changed by a little more made another image of one. Ours: of 397 digits 1 is so near to another one, of 500 images of
GTSRB 4, of MNIST, whose ones are alike, 37."""
COMPARED = 1 << 32
"""Values that are compared one by one at most; then an image that is not told apart from an earlier one by its parts
counts as a copy of it. Ours: a few seconds on one core; 500 images of 3 x 224 x 224 need half of it, and 20,000 that
were made so that no part tells them apart a hundred times as much."""
_PARTS = 512  # of an image, which tell most pairs apart; ours
_ROWS = 256  # images at once
_SLACK = 1e-6  # of float32, beside pixels that are multiples of 1/255
_ROUNDING = 1e-4  # of float32, in a squared distance, as a share of the squares that it is made of


Images = NDArray[np.uint8] | FloatArray
"""Pixels, or float32 in [0, 1]."""


def distinct(images: Images, *, eps: float, norm: Norm) -> NDArray[np.int64]:
    """The rows of the images (n, c, h, w) that are no copy of an earlier one of these, ascending.

    Within the radius an attacker could have made one of the other, so that an engine which resists on one has shown
    little more by the other. Ours.

    All pairs are compared by parts of them, in products of matrices; only what these do not tell apart is compared
    value by value, with images that are kept alone, and not without end (COMPARED). On one core 10,000 images of
    3 x 32 x 32 take 3 seconds.
    """
    flat = _flat(images)
    parts = _parts(flat, norm)
    codes = _codes(parts, parts.mean(0), eps, norm)
    kept, comparison = np.zeros(len(flat), np.bool_), _Comparison(flat, eps, norm)
    for first in range(0, len(flat), _ROWS):
        maybe = _alike(codes[first : first + _ROWS], codes[: first + _ROWS], flat.shape[1], eps, norm)
        for row, alike in enumerate(maybe, start=first):
            kept[row] = not comparison.has_copy(flat[row], np.flatnonzero(alike[:row] & kept[:row]))
    return np.flatnonzero(kept)


def near(images: Images, others: Images, *, eps: float, norm: Norm) -> NDArray[np.bool_]:
    """Which of the images (n, c, h, w) are copies of any of the `others` (m, c, h, w), as `distinct` says it.

    Both are pixels, or both are floats.
    """
    flat = _flat(images)
    there = _flat(others)
    own, theirs = _parts(flat, norm), _parts(there, norm)
    centre = theirs.mean(0)
    own, theirs = _codes(own, centre, eps, norm), _codes(theirs, centre, eps, norm)
    found, comparison = np.zeros(len(flat), np.bool_), _Comparison(there, eps, norm)
    for first in range(0, len(flat), _ROWS):
        maybe = _alike(own[first : first + _ROWS], theirs, flat.shape[1], eps, norm)
        for row, alike in enumerate(maybe, start=first):
            found[row] = comparison.has_copy(flat[row], np.flatnonzero(alike))
    return found


def _flat(images: Any) -> Images:  # Any: NumPy's types of shapes
    return images.reshape(len(images), -1)


class _Comparison:
    """Images held value by value against others (n, d), until COMPARED values were."""

    def __init__(self, others: Images, eps: float, norm: Norm) -> None:
        self._others, self._eps, self._norm, self._left = others, eps, norm, COMPARED

    def has_copy(self, image: Images, rows: NDArray[np.int64]) -> bool:
        """Whether an image (d,) is a copy of any of these `rows`, or that is not told any more."""
        for first in range(0, len(rows), _ROWS):
            if self._left <= 0 or self._copied(rows[first : first + _ROWS], image).any():
                return True
        return False

    def _copied(self, rows: NDArray[np.int64], image: Images) -> NDArray[np.bool_]:
        """Which of the images at `rows` are copies: within eps, in L-inf but for COPIED of its values."""
        if self._norm == "L2":
            self._left -= len(rows) * image.size
            return np.sqrt(np.square(_floats(self._others[rows]) - _floats(image)).sum(1)) <= self._eps + _SLACK
        gap: Any = self._eps + _SLACK  # Any: of the images' own type, or NumPy compares in float64, ten times as long
        gap = np.uint8(min(255, int(gap * 255))) if image.dtype == np.uint8 else np.float32(gap)
        most, step = COPIED * image.size, -(-image.size // 8)
        left = np.ones(len(rows), np.bool_)
        differing = np.zeros(len(rows), np.int64)
        for start in range(0, image.size, step):  # most images are told apart by the first values
            theirs, own = self._others[rows[left], start : start + step], image[start : start + step]
            self._left -= theirs.size
            differing[left] += (np.maximum(theirs, own) - np.minimum(theirs, own) > gap).sum(1, dtype=np.int32)
            left &= differing <= most
        return left


def _floats(images: Images) -> FloatArray:
    return np.divide(images, 255, dtype=np.float32) if images.dtype == np.uint8 else images.astype(np.float32)


def _parts(flat: Images, norm: Norm) -> FloatArray:
    """Of images (n, d): values spread over each, or in L2 means of as many values each, scaled so that distances
    between the parts (n, p) are at most those between the images.
    """
    values = flat.shape[1]
    if norm == "Linf":
        return _floats(flat[:, np.arange(min(values, _PARTS)) * values // min(values, _PARTS)])
    size = -(-values // _PARTS)
    found = np.empty((len(flat), values // size), np.float32)
    for first in range(0, len(flat), _ROWS):
        some = _floats(flat[first : first + _ROWS, : values // size * size])
        found[first : first + _ROWS] = np.reshape(some, (len(some), -1, size)).mean(2) * np.float32(size**0.5)
    return found


def _codes(parts: FloatArray, centre: FloatArray, eps: float, norm: Norm) -> FloatArray:
    """What `_alike` compares of the parts (n, p).

    In L-inf what of them is below the `centre` (p,), and what is above it, by half of eps: a value below and one above
    differ by more than eps.
    """
    if norm == "L2":
        return parts - centre
    gap = np.float32(eps / 2 + _SLACK)
    return np.concatenate([parts < centre - gap, parts > centre + gap], axis=1).astype(np.float32)


def _alike(own: FloatArray, theirs: FloatArray, values: int, eps: float, norm: Norm) -> NDArray[np.bool_]:
    """Which images of these codes, of so many values each, may be copies (n, m): where not, they are none."""
    if norm == "L2":
        squares = np.square(own).sum(1)[:, None] + np.square(theirs).sum(1)
        return squares - 2 * np.inner(own, theirs) <= (eps + _SLACK) ** 2 + _ROUNDING * squares
    return np.inner(np.roll(own, own.shape[1] // 2, axis=1), theirs) <= COPIED * values
