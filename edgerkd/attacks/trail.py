"""Where the attacks went: a random few of the very points they asked about, looked at again afterwards.

The check of gradients before an attack draws its points like an attack's first ones. A gradient that is right there
and wrong further on, for one loss and not for another, or near the decision boundary, leads the attack astray all the
same; and so does an engine that is another one in the middle of an attack. No engine and no twin can tell these points
from the attack's own, for that is what they are. Ours. Source of the doubt: Carlini et al. 2019, arXiv 1902.06705,
section 3 (what an attack must not be blind to).
"""

import numpy as np

from edgerkd.attacks import flag_kinds as kinds
from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.ball import project
from edgerkd.attacks.classifier import Classifier, Cotangent
from edgerkd.attacks.gradient_check import POINTS, Asked, Floats, Images, compare
from edgerkd.core.flag import Flag

RESCALED = 20.0
"""Times by which the spread of the logits may change. Ours: robust and standard networks had 0.2 to 1.1."""
JUMP = 0.5
"""Of an image's spread of logits, how far rounding its pixels moves one at most. Ours."""
JUMPED = 0.05
"""Share of images that may do so. Ours."""
_SMALL = 3  # images at a time, at most, when they are shown again
_SHOWN = 32  # judged images that are, as they are and with noise on what is neither black nor white


class Watched:
    """A classifier of NumPy arrays that keeps `points` of the rows whose gradients were asked for, each as likely."""

    def __init__(self, classifier: Classifier, *, generator: np.random.Generator, points: int = POINTS) -> None:
        self._classifier, self._generator, self._points = classifier, generator, points
        self._keys = np.empty(0)
        self._kept: Asked | None = None

    def logits(self, images: Images) -> Images:
        return self._classifier.logits(images)

    def gradient(self, images: Images, cotangent: Cotangent) -> tuple[Images, Images]:
        used: list[Images] = []

        def weigh(logits: Images) -> Images:
            used.append(cotangent(logits))
            return used[-1]

        logits, gradients = self._classifier.gradient(images, weigh)
        keys = self._generator.random(len(images))
        limit = self._keys[-1] if len(self._keys) == self._points else 1.0
        rows = np.flatnonzero((keys < limit) & (used[-1] != 0).any(1))  # a loss without a slope asks nothing
        if len(rows):
            self._keep(
                keys[rows],
                Asked(
                    points=images[rows],
                    gradients=gradients[rows],
                    weights=used[-1][rows].astype(np.float64),
                    logits=logits[rows].astype(np.float64),
                ),
            )
        return logits, gradients

    @property
    def asked(self) -> Asked | None:
        """What was kept, or None where no gradient was asked for."""
        return self._kept

    def _keep(self, keys: Floats, more: Asked) -> None:
        """Those of the lowest keys stay."""
        keys = np.concatenate([self._keys, keys])
        known = more if self._kept is None else self._kept.joined(more)
        order = np.argsort(keys)[: self._points]
        self._keys, self._kept = keys[order], known.take(order)


def check_trail(
    classifier: Classifier,
    inputs: AttackInputs,
    asked: Asked,
    *,
    clean: Images,
    precision: str,
    share: float,
    generator: np.random.Generator,
) -> tuple[Flag, ...]:
    """Signs that the points which attacks `asked` about were not what they took them for.

    The gradients there are held against differences of the logits, the logits against those of the same images shown
    anew in small batches, which may differ by `share` of the largest, and against those of whole pixels; and their
    spread against that of the `clean` images' logits (n, k). The images of `inputs` are shown anew as well, and with
    noise that leaves black and white as they are: an engine could tell attacks by pixels that only these move.
    """
    found: list[Flag] = []
    slopes = compare(classifier, inputs, asked, precision=precision, generator=generator)
    if not slopes.ok:
        found.append(
            kinds.TWIN_STRAYS.raised(
                points=slopes.points,
                disagreeing=slopes.disagreeing,
                flat=slopes.flat,
                correlation=slopes.correlation,
            )
        )
    quiet = _quiet(inputs, generator)
    together = np.concatenate([asked.logits, classifier.logits(quiet)])
    again = _in_small_batches(classifier, np.concatenate([asked.points, quiet]), generator)
    limit = share * max(1.0, float(np.abs(together).max()))
    difference = float(np.abs(again - together).max())
    if not difference <= limit:
        found.append(kinds.OTHER_LATER.raised(difference=difference, limit=limit))
    whole = classifier.logits(np.divide(np.rint(asked.points * 255), 255, dtype=np.float32))
    spread = np.maximum(np.ptp(asked.logits, axis=1), np.finfo(np.float32).tiny)
    jumped = np.abs(whole - asked.logits).max(1) > JUMP * np.maximum(spread, np.ptp(whole, axis=1))
    if jumped.mean() > JUMPED:
        found.append(kinds.WHOLE_PIXELS.raised(jumped=int(jumped.sum()), n=len(jumped)))
    ratio = float(np.median(spread) / max(np.median(np.ptp(clean, axis=1)), np.finfo(np.float32).tiny))
    if not 1 / RESCALED <= ratio <= RESCALED:
        found.append(kinds.RESCALED.raised(ratio=ratio))
    return tuple(found)


def _quiet(inputs: AttackInputs, generator: np.random.Generator) -> Images:
    """Images drawn of the `inputs`, and the same with noise of the radius on what is neither black nor white."""
    rows = generator.permutation(len(inputs.images))[:_SHOWN]
    images: Images = np.asarray(inputs.images[rows], np.float32)
    signs: Images = generator.choice(np.asarray([-1, 1], np.float32), images.shape)
    inner: Images = ((images > 0) & (images < 1)).astype(np.float32)
    signs *= np.float32(inputs.eps)
    noisy = images + signs * inner
    return np.concatenate([images, project(noisy, images, eps=inputs.eps, norm=inputs.norm)])


def _in_small_batches(classifier: Classifier, images: Images, generator: np.random.Generator) -> Floats:
    """The logits of images that are shown one to three at a time, in random order."""
    order = generator.permutation(len(images))
    found = np.empty((len(images), 0))
    ends = np.cumsum(generator.integers(1, _SMALL + 1, len(images)))
    for rows in np.split(order, ends[ends < len(images)]):
        logits = classifier.logits(images[rows])
        if not found.size:
            found = np.empty((len(images), logits.shape[1]))
        found[rows] = logits
    return found
