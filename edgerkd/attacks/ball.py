"""The threat model's geometry: distances, steps and projections, in L-inf and L2."""

from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace

from edgerkd.attacks.arrays import device_of, sign
from edgerkd.attacks.classifier import Array
from edgerkd.core.threat import Norm

_TINY = 1e-12  # keeps a zero gradient's direction finite (and zero)


def length(arrays: Array, norm: Norm) -> Array:
    """The norm of each of n arrays, as (n, 1, 1, 1)."""
    xp = array_namespace(arrays)
    axes = tuple(range(1, arrays.ndim))
    if norm == "Linf":
        return xp.max(xp.abs(arrays), axis=axes, keepdims=True)
    return xp.sqrt(xp.sum(arrays * arrays, axis=axes, keepdims=True))


def steepest(gradient: Array, norm: Norm) -> Array:
    """The step of length one along which a linear loss rises fastest."""
    return sign(gradient) if norm == "Linf" else gradient / (length(gradient, norm) + _TINY)


def project(images_adv: Array, images: Array, *, eps: float, norm: Norm) -> Array:
    """A point in the ball around `images` and in [0, 1]; in L-inf the nearest one.

    In L2 the point is first brought into the ball, then into [0, 1]: the images lie in there, so the
    second step never leaves the ball.
    """
    xp = array_namespace(images)
    moved = images_adv - images
    if norm == "Linf":
        return xp.clip(images + xp.clip(moved, -eps, eps), 0.0, 1.0)
    scale = xp.clip(eps / (length(moved, norm) + _TINY), 0.0, 1.0)
    return xp.clip(images + moved * scale, 0.0, 1.0)


def random_start(images: Array, *, eps: float, norm: Norm, seeds: Sequence[tuple[int, ...]]) -> Array:
    """Images moved at random inside the ball, uniformly (L-inf) or to its surface (L2), then into [0, 1].

    Each image draws from its own seed, so its start depends neither on its neighbours nor on the
    array library.
    """
    xp = array_namespace(images)
    noise = np.empty(tuple(images.shape), np.float32)
    for row, seed in enumerate(seeds):
        generator = np.random.default_rng(seed)
        shape = noise.shape[1:]
        noise[row] = generator.uniform(-eps, eps, shape) if norm == "Linf" else generator.standard_normal(shape)
    moved = xp.asarray(noise, device=device_of(images))
    if norm == "L2":
        moved = moved * (eps / length(moved, norm))
    return project(images + moved, images, eps=eps, norm=norm)
