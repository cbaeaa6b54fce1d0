"""Which images a verdict may count: one image shown twice is one image's worth of evidence."""

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.backend import FloatArray
from edgerkd.core.threat import Norm

COPIED = 0.05
"""Of an image's values, the share that may differ by more than eps from another's in a copy of it: else a few pixels
changed by a little more made another image of one. Ours: of 397 digits 1 is so near to another one, of 500 images of
GTSRB 4, of MNIST, whose ones are alike, 37."""
_PARTS = 256  # of an image, whose means tell most pairs apart
_SLACK = 1e-6  # of float32, beside pixels that are multiples of 1/255


def distinct(images: FloatArray, *, eps: float, norm: Norm) -> NDArray[np.int64]:
    """The rows of the images (n, c, h, w) in [0, 1] that are no copy of an earlier one of these, ascending.

    Within the radius an attacker could have made one of the other, so that an engine which resists on one has shown
    little more by the other. Ours.
    """
    kept: list[int] = []
    flat = np.reshape(images, (len(images), -1))
    parts = _means(flat)
    for row in range(len(flat)):
        maybe = np.flatnonzero(_alike(parts[kept], parts[row], flat.shape[1], eps, norm))
        if not _copied(flat[[kept[place] for place in maybe]], flat[row], eps, norm).any():
            kept.append(row)
    return np.asarray(kept, np.int64)


def near(images: FloatArray, others: FloatArray, *, eps: float, norm: Norm) -> NDArray[np.bool_]:
    """Which of the images (n, c, h, w) are copies of any of the `others` (m, c, h, w), as `distinct` says it."""
    flat, there = (np.reshape(each, (len(each), -1)) for each in (images, others))
    own, theirs = _means(flat), _means(there)
    found = np.zeros(len(flat), np.bool_)
    for row in range(len(flat)):
        maybe = _alike(theirs, own[row], flat.shape[1], eps, norm)
        found[row] = _copied(there[maybe], flat[row], eps, norm).any()
    return found


def _copied(images: FloatArray, image: FloatArray, eps: float, norm: Norm) -> NDArray[np.bool_]:
    """Whether each of the images (n, d) is a copy of one (d,): within eps, in L-inf but for COPIED of its values."""
    if norm == "L2":
        return np.sqrt(np.square(images - image).sum(1)) <= eps + _SLACK
    most, step = COPIED * image.size, -(-image.size // 8)
    left = np.ones(len(images), np.bool_)
    differing = np.zeros(len(images), np.int64)
    for start in range(0, image.size, step):  # most images are told apart by the first values
        part = slice(start, start + step)
        differing[left] += (np.abs(images[left, part] - image[part]) > eps + _SLACK).sum(1)
        left &= differing <= most
    return left


def _means(flat: FloatArray) -> FloatArray:
    """The means (n, p) of parts of images (n, d), each of as many values, the last of fewer."""
    size = -(-flat.shape[1] // _PARTS)
    starts = list(range(0, flat.shape[1], size))
    sizes = [min(size, flat.shape[1] - start) for start in starts]
    return np.divide(np.add.reduceat(flat, starts, axis=1), sizes, dtype=np.float32)


def _alike(means: FloatArray, one: FloatArray, values: int, eps: float, norm: Norm) -> NDArray[np.bool_]:
    """Whether images with these means (n, p) may be copies of one with its own (p,): where not, they are none.

    By the triangle inequality: means differ by no more than the values do, on average and in length.
    """
    size = -(-values // _PARTS)
    moved = np.abs(means - one)
    if norm == "L2":
        moved[:, -1:] = 0  # the last part may be of fewer values
        return np.sqrt(size * np.square(moved).sum(1)) <= eps + _SLACK
    return size * moved[:, :-1].sum(1) <= (eps + COPIED + _SLACK) * values
