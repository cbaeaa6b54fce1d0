"""What probes of a classifier look at: which images are fooled, by what margin, and along PGD's own way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.arrays import on_host
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.losses import margin
from edgerkd.attacks.pgd import ascend

LEFT_STANDING = 0.05
"""Share of the images of which a probe may fool more than the attacks did: longer ones may find these. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Of n images: the margin of the best wrong class over the right one (n,), and which are `fooled` (n,)."""

    loss: NDArray[Any]  # Any: whatever type logits have
    fooled: NDArray[np.bool_]


def look(classifier: Classifier, images: Array, labels: Array) -> Look:
    """One call of the classifier."""
    logits = classifier.logits(images)
    fooled = array_namespace(logits).argmax(logits, axis=-1) != labels
    return Look(loss=on_host(margin(logits, labels)[0]), fooled=on_host(fooled))


def ascent(
    classifier: Classifier, inputs: AttackInputs, start: Array, *, eps: float, steps: int, up: bool = True
) -> Iterator[Array]:
    """PGD's iterates on the margin, in steps of a quarter of the radius as in the suite; down it if not `up`."""
    return ascend(
        classifier,
        inputs.images,
        start,
        cotangent=lambda z: margin(z, inputs.labels)[1] * (1 if up else -1),
        norm=inputs.norm,
        eps=eps,
        step_size=eps / 4,
        steps=steps,
    )


def fooled_by_pgd(
    classifier: Classifier, inputs: AttackInputs, *, eps: float, steps: int, up: bool = True
) -> NDArray[np.bool_]:
    """Which images (n,) PGD from the images themselves fools at any of its steps; down the margin if not `up`."""
    found = np.zeros(len(inputs.index), np.bool_)
    for x in ascent(classifier, inputs, inputs.images, eps=eps, steps=steps, up=up):
        found |= look(classifier, x, inputs.labels).fooled
    return found


def beyond_chance(worse: NDArray[np.bool_], better: NDArray[np.bool_]) -> bool:
    """Whether more images changed for the worse than for the better, by over two standard deviations of a fair coin.

    Source: McNemar's test of paired proportions.
    """
    down, up = int(worse.sum()), int(better.sum())
    return down - up > 2 * math.sqrt(down + up)


def too_many(fooled: int, n: int, share: float) -> bool:
    """Whether it is more than that share of n images, and more than one, which may be luck."""
    return fooled > max(1.0, share * n)
