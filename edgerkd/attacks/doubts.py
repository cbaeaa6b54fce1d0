"""Whether a model's scores tell how near it is to an error, and whether it is the same model elsewhere. Ours.

Gradients that are right can still lead nowhere: where scores are turned upside down, so that a model is the surer the
nearer it is to an error, every attack that raises its loss walks away from the error. And images that a model knows by
heart say nothing of others. A red team made both (docs/guide/frauds.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks import flag_kinds as kinds
from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.arrays import device_of, on_host
from edgerkd.attacks.ball import project, steepest
from edgerkd.attacks.classifier import Array, Classifier, Cotangent
from edgerkd.attacks.looks import LEFT_STANDING, Look, beyond_chance, fooled_by_pgd, look, too_many
from edgerkd.core.flag import Flag

DESCENT_STEPS = 10  # of a quarter of the radius down the loss, where an honest model is surer and not wrong; ours
ON_THE_WAY = 16  # points of the way from one image to another; ours
HALVINGS = 6  # of the part of it in which the answer changes first; ours
SURER = 0.5  # share of ways on which the margin may grow towards the change: honest ones had 0 to 0.09; ours
MIXED = 0.15  # of another image of the class, mixed in; ours
FALLS = 0.4  # share of images that may stop resisting by that: honest ones lost 0.17 at most, of 17 to 28; ours
PART_STEPS = 10  # of a quarter of the radius, on a part of the pixels; ours
NEAR = 1 / 8  # of an image's range: so near to its darkest or brightest value pixels count as dark or bright; ours
WRONG = 0.1  # share of images that may be wrong after a descent; ours
PGD_STEPS = 20  # on images and on mixed ones


def descent(classifier: Classifier, inputs: AttackInputs) -> Iterator[Flag]:
    """PGD down the loss, where every attack goes up: a model that is wrong there says more of itself than it knows."""
    fooled = fooled_by_pgd(classifier, inputs, eps=inputs.eps, steps=DESCENT_STEPS, up=False)
    if too_many(int(fooled.sum()), len(fooled), WRONG):
        yield kinds.DESCENT_FOOLS.raised(steps=DESCENT_STEPS, fooled=int(fooled.sum()), n=len(fooled))


def on_the_way(classifier: Classifier, inputs: AttackInputs) -> Iterator[Flag]:
    """On straight ways to images of other classes: the margin at 0.9 of the way to the first change, and at the image.

    No gradient is asked for, so that no twin can help.
    """
    rows, ends = _ways(on_host(inputs.labels))
    if not len(rows):
        return
    xp, device = inputs.xp, device_of(inputs.images)
    where, to = (xp.asarray(each, device=device) for each in (rows, ends))
    begin, end, own = inputs.images[where], inputs.images[to], inputs.labels[where]

    # Any: NumPy promises float64 of what is float32
    def seen(share: NDArray[Any]) -> Look:
        mix = xp.asarray(share[:, None, None, None], device=device)
        return look(classifier, begin + mix * (end - begin), own)

    grid = np.arange(1, ON_THE_WAY + 1, dtype=np.float32) / np.float32(ON_THE_WAY)
    wrong = np.stack([seen(np.full(len(rows), share, np.float32)).fooled for share in grid])
    high: NDArray[Any] = grid[wrong.argmax(0)]
    low: NDArray[Any] = high - grid[0]
    for _ in range(HALVINGS):
        middle: NDArray[Any] = (low + high) / 2
        there = seen(middle).fooled
        low, high = np.where(there, low, middle), np.where(there, middle, high)
    surer = (seen(0.9 * low).loss < seen(0 * low).loss) & wrong.any(0)
    if too_many(int(surer.sum()), len(rows), SURER):
        yield kinds.SURER_NEAR_ERRORS.raised(surer=int(surer.sum()), n=len(rows))


def mixed(classifier: Classifier, inputs: AttackInputs, partners: Array | None) -> Iterator[Flag]:
    """PGD on the images and on the same with a little of another of their class: images that nobody can have stored."""
    if partners is None:
        return
    xp = inputs.xp
    new = (1 - MIXED) * inputs.images + MIXED * partners
    rows = np.flatnonzero(~look(classifier, new, inputs.labels).fooled)
    rows = rows[on_host(xp.any(new != inputs.images, axis=(1, 2, 3)))[rows]]
    if not len(rows):
        return
    where = xp.asarray(rows, device=device_of(new))
    part = replace(inputs, images=inputs.images[where], labels=inputs.labels[where], index=inputs.index[rows])
    before, after = (
        fooled_by_pgd(classifier, replace(part, images=images), eps=inputs.eps, steps=PGD_STEPS)
        for images in (part.images, new[where])
    )
    if too_many(int(after.sum()) - int(before.sum()), len(rows), FALLS) and beyond_chance(
        after & ~before, before & ~after
    ):
        yield kinds.KNOWS_IMAGES.raised(before=int(before.sum()), after=int(after.sum()), n=len(rows))


def plain_changes(classifier: Classifier, inputs: AttackInputs, held: NDArray[np.bool_] | None) -> Iterator[Flag]:
    """What takes no search, on images that were `held`: all pixels up or down together, PGD that leaves some alone.

    Attacks move every pixel, each to its own side: a network that is another one where none is moved, or all are moved
    alike, hides from them.
    """
    if held is None:
        return
    xp, images = inputs.xp, inputs.images
    low, high = (reduced(images, axis=(1, 2, 3), keepdims=True) for reduced in (xp.min, xp.max))
    edge = (high - low) * NEAR
    found = {f"all pixels {word}": _moved(classifier, inputs, side) for word, side in (("brighter", 1), ("darker", -1))}
    for word, part in (("dark", images > low + edge), ("bright", images < high - edge)):
        on_part = OnSomePixels(classifier, xp.asarray(part, dtype=images.dtype))
        found[f"PGD that leaves {word} pixels alone"] = fooled_by_pgd(on_part, inputs, eps=inputs.eps, steps=PART_STEPS)
    for what, fooled in found.items():
        n = int((held & fooled).sum())
        if too_many(n, len(held), LEFT_STANDING):
            yield kinds.PLAIN_CHANGES.raised(what=what, fooled=n, n=len(held))
            return


@dataclass(frozen=True, slots=True)
class OnSomePixels:
    """A classifier whose gradient is left out where `part` (n, c, h, w) is 0, so that attacks leave these pixels."""

    classifier: Classifier
    part: Array

    def logits(self, images: Array) -> Array:
        return self.classifier.logits(images)

    def gradient(self, images: Array, cotangent: Cotangent) -> tuple[Array, Array]:
        logits, gradient = self.classifier.gradient(images, cotangent)
        return logits, gradient * self.part


def _moved(classifier: Classifier, inputs: AttackInputs, side: int) -> NDArray[np.bool_]:
    """Which are fooled by the longest step of all pixels together, up for `side` 1 and down for -1."""
    step = inputs.eps * steepest(inputs.xp.full_like(inputs.images, side), inputs.norm)
    moved = project(inputs.images + step, inputs.images, eps=inputs.eps, norm=inputs.norm)
    return look(classifier, moved, inputs.labels).fooled


def _ways(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and, for each, the next one of another label; those for which there is none are left out."""
    rows: list[int] = []
    ends: list[int] = []
    for row in range(len(labels)):
        others = np.flatnonzero(np.roll(labels, -row) != labels[row])
        if len(others):
            rows.append(row)
            ends.append((row + int(others[0])) % len(labels))
    return np.asarray(rows, np.int64), np.asarray(ends, np.int64)
