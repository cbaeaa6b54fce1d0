"""Square: random search with square patches; it asks for logits and nothing else.

Source: Andriushchenko et al. 2020, arXiv 1912.00049; the schedule's start as in AutoAttack (arXiv 2003.01690).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from edgerkd.attacks.active_set import ActiveSet, AttackInputs, kept
from edgerkd.attacks.arrays import device_of, on_host
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.ball import length, project
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.losses import margin

QUERIES = 5000  # of the ensemble's Square. Source: Croce and Hein 2020, arXiv 2003.01690, section 5
P_INIT = 0.8  # share of the pixels a patch covers at first: AutoAttack's value
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries, of 10,000, at which it halves; section 3.3
_BLOCK = 100  # queries whose random numbers are drawn at once; ours
_TILES = 5  # tiles a side of the L2 start; section 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """The best images so far and their margins."""

    images: Array
    labels: Array
    x: Array
    best: Array


def patch_side(query: int, height: int, width: int) -> int:
    """The side of one query's patch. Section 3.3, the schedule not rescaled to fewer queries."""
    share = P_INIT / 2 ** sum(query > mark for mark in _HALVINGS)
    return max(1, min(round(math.sqrt(share * height * width)), height - 1, width - 1))


def square(classifier: Classifier, inputs: AttackInputs, *, queries: int) -> Array:
    """Adversarial images (n, c, h, w): the first that fools, else that of the highest margin after `queries` forwards.

    An image leaves as soon as it is fooled. Each image has patches of its own, drawn from its own seed.
    """
    xp = inputs.xp
    active = ActiveSet(inputs)
    eps, norm = inputs.eps, inputs.norm
    _, c, h, w = inputs.images.shape
    generators = [np.random.default_rng(seed) for seed in inputs.seeds(active.rows, "square")]
    first = _stripes if norm == "Linf" else _tiles
    noise = np.stack([first(generator, c, h, w) for generator in generators]).astype(np.float32)
    x = project(
        active.images + eps * xp.asarray(noise, device=device_of(inputs.images)), active.images, eps=eps, norm=norm
    )
    lowest = xp.full((x.shape[0],), -xp.inf, dtype=x.dtype, device=device_of(x))
    at = _Search(images=active.images, labels=active.labels, x=x, best=lowest)
    draws: NDArray[np.float64] = np.empty(0)
    for query in range(queries):
        if query > 0:
            if (query - 1) % _BLOCK == 0:
                draws = np.stack([generators[int(row)].random((_BLOCK, 5 + c)) for row in active.rows])
            side = patch_side(query, h, w)
            propose = _square_linf if norm == "Linf" else _square_l2
            x = propose(at, draws[:, (query - 1) % _BLOCK], side=side, eps=eps)
        logits = classifier.logits(x)
        value = margin(logits, at.labels)[0]
        keep = active.record(x, logits, value)
        if keep is not None:
            at, x, value = kept(at, keep), x[keep], value[keep]
            draws = draws[on_host(keep)] if draws.size else draws
        if not active.left:
            break
        better = value > at.best
        at = _Search(
            images=at.images,
            labels=at.labels,
            x=xp.where(better[:, None, None, None], x, at.x),
            best=xp.where(better, value, at.best),
        )
    return active.images_adv


def _stripes(generator: np.random.Generator, c: int, h: int, w: int) -> NDArray[np.float64]:
    """Vertical stripes of plus and minus one. Section 3.4."""
    return np.broadcast_to(generator.choice([-1.0, 1.0], (c, 1, w)), (c, h, w))


def _square_linf(at: _Search, draws: NDArray[np.float64], *, side: int, eps: float) -> Array:
    """One patch an image, moved by two radii up or down a channel; projected, it lies on an edge of the ball."""
    xp = array_namespace(at.x)
    _, c, h, w = at.x.shape
    top, left = (_corner(draws[:, i], size - side) for i, size in ((0, h), (1, w)))
    down, across = _stretch(top, side, h), _stretch(left, side, w)
    sign = np.where(draws[:, 5 : 5 + c] < 0.5, -2.0, 2.0)
    move = (eps * sign[:, :, None, None] * (down[:, None, :, None] & across[:, None, None, :])).astype(np.float32)
    return project(at.x + xp.asarray(move, device=device_of(at.x)), at.images, eps=eps, norm="Linf")


def _stretch(begin: NDArray[np.int64], side: int, size: int) -> NDArray[np.bool_]:
    """Which of `size` places lie within `side` of each beginning (n,), as (n, size)."""
    places: NDArray[np.int64] = np.arange(size)[None]
    return (places >= begin[:, None]) & (places < begin[:, None] + side)


def _square_l2(at: _Search, draws: NDArray[np.float64], *, side: int, eps: float) -> Array:
    """Algorithm 3: what two windows hold, and the unused radius, go into the first; the second is emptied."""
    xp = array_namespace(at.x)
    device = device_of(at.x)
    n, c, h, w = at.x.shape
    side = max(3, side - (side + 1) % 2)  # odd, and large enough for a bump
    moved = at.x - at.images
    corners = [_corner(draws[:, i], size - side) for i, size in ((0, h), (1, w), (2, h), (3, w))]
    first, second = (_window(corners[i : i + 2], n, c, side, device, xp) for i in (0, 2))
    spare = xp.clip(eps**2 - length(moved, "L2") ** 2, 0.0, xp.inf)
    union = xp.zeros_like(moved)
    union[first] = 1.0
    union[second] = 1.0
    held = xp.sum(union * moved * moved, axis=(2, 3), keepdims=True)
    bumps: NDArray[np.float64] = _two_bumps(side)
    bump = np.where(draws[:, 4, None, None] < 0.5, np.transpose(bumps), bumps)
    signs = np.where(draws[:, 5 : 5 + c] < 0.5, -1.0, 1.0)
    fresh = xp.asarray((bump[:, None] * signs[:, :, None, None]).astype(np.float32), device=device)
    inside = moved[first]
    mixed = fresh + inside / xp.clip(_plane_length(inside), 1e-12, xp.inf)
    moved[second] = 0.0
    moved[first] = mixed / xp.clip(_plane_length(mixed), 1e-12, xp.inf) * xp.sqrt(held + spare / c)
    return project(at.images + moved, at.images, eps=eps, norm="L2")


def _tiles(generator: np.random.Generator, c: int, h: int, w: int) -> NDArray[np.float64]:
    """A grid of bumps of random sign, of length one. Section 3.5."""
    noise = np.zeros((c, h, w))
    side = max(1, min(h, w) // _TILES)
    bump = _bump(side, side)
    for top in range(0, h - side + 1, side):
        for left in range(0, w - side + 1, side):
            sign = generator.choice([-1.0, 1.0], (c, 1, 1))
            noise[:, top : top + side, left : left + side] = bump * sign
    return noise / np.sqrt((noise**2).sum())


def _bump(height: int, width: int) -> NDArray[np.float64]:
    """Highest in the middle, falling to the rim. Section 3.5, eq. 2."""
    n = height // 2
    rows, columns = np.abs(np.arange(height) - height // 2), np.abs(np.arange(width) - width // 2)
    rings: NDArray[np.int64] = np.maximum(n - np.maximum(rows[:, None], columns[None]), 0)
    sums = np.cumsum([1 / (n + 1 - k) ** 2 for k in range(n + 1)])
    return sums[rings]


def _two_bumps(side: int) -> NDArray[np.float64]:
    """A bump above its negative, together of length one. Section 3.5."""
    half = side // 2
    both = np.concatenate([_bump(half, side), -_bump(side - half, side)])
    return both / np.sqrt((both**2).sum())


def _corner(draws: NDArray[np.float64], room: int) -> NDArray[np.int64]:
    """Where a patch begins, 0 to `room`, from draws in [0, 1)."""
    return np.floor(draws * (room + 1)).astype(np.int64)


def _window(
    corner: Sequence[NDArray[np.int64]], n: int, c: int, side: int, device: object, xp: Array
) -> tuple[Array, Array, Array, Array]:
    """Index arrays of one window an image, in all channels: an array indexed by them is (n, c, side, side)."""
    image, channel = np.arange(n)[:, None, None, None], np.arange(c)[None, :, None, None]
    rows = (corner[0][:, None] + np.arange(side))[:, None, :, None]
    columns = (corner[1][:, None] + np.arange(side))[:, None, None, :]
    image, channel, rows, columns = (xp.asarray(part, device=device) for part in (image, channel, rows, columns))
    return image, channel, rows, columns


def _plane_length(windows: Array) -> Array:
    """The L2 length of each channel's window, as (n, c, 1, 1)."""
    xp = array_namespace(windows)
    return xp.sqrt(xp.sum(windows * windows, axis=(2, 3), keepdims=True))


SQUARE = Attack(
    id="square",
    title="Square",
    description="random search with square patches, 5,000 queries; it sees no gradient",
    sources=("Andriushchenko et al. 2020, arXiv 1912.00049",),
    source="query",
    unit="queries",
    run=partial(square, queries=QUERIES),
)
SQUARE_500 = replace(
    SQUARE.with_budget(500, partial(square, queries=500)),
    description="random search with square patches, 500 queries; it sees no gradient",
)
ATTACKS = (SQUARE, SQUARE_500)
