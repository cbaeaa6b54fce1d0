"""Is the gradient the engine's? Slopes that it predicts against differences of the engine's own logits.

Asked before any attack, of a deployed engine and its gradient twin. The points are random ones inside the ball around
random images, so a twin that is right on a few known images, or on clean ones, is found out; half of them are then
moved as an attack's first step moves them, for a twin that is right wherever no attack goes. The loss is drawn point by
point: the margin, cross-entropy, the margin to a random class, or random weights of the logits. At each point:

* **steepest**: the direction that the gradient itself calls steepest. The slope along it is by far the largest, so it
  shows even through int8's rounding; a gradient that is not the engine's predicts a large slope where there is none;
* **random**: signs of random coarse grids, or of single pixels where the engine is float32, which do not depend on
  the gradient and show what it leaves out: one that is averaged over blocks of pixels is right along every coarse grid.

How far to go follows the precision. Too far, and curvature and kinks hide the slope; too near, and rounding does. The
fp32 engine of a network trained for a large ball (MNIST, eps 0.3) bends within eps/16; the int8 engine of a robust one
(GTSRB, 8/255) shows hardly more than rounding below it. So a few distances are tried, as shares of eps, and the one of
best agreement counts, point by point: a right gradient needs agree at one of them only, and a wrong one at none does.

The question is whether the gradient is right, not whether it helps: a saturated network passes.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.arrays import device_of, on_host
from edgerkd.attacks.ball import length, project, random_start, steepest
from edgerkd.attacks.classifier import Classifier
from edgerkd.attacks.losses import cross_entropy, margin, margin_targeted
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.gradient_check import GradientCheck, concordance, judge_gradients
from edgerkd.core.precision import Precision
from edgerkd.core.threat import Norm

POINTS = 64  # one batch; ours
DISTANCES = {"fp32": (1 / 256, 1 / 64), "fp16": (1 / 64, 1 / 16, 1 / 4), "int8": (1 / 64, 1 / 16, 1 / 4, 1.0)}
"""How far to go, as shares of eps, rising. Ours."""
NEARLY = {"fp32": 0.002, "fp16": 0.1, "int8": 0.1}
"""Concordance given up for a longer step, which shows more beside the rounding. Ours."""
RANDOM = 2  # random directions a point; ours
GRIDS = (2, 5)  # their sides, from and below: coarse patterns move a network most (Square, section 3); ours
SMOOTH = 0.95
"""Concordance of changes at the two distances of fp32 from which an engine counts as one that does not round. Ours:
0.9996 measured for a robust and a standard float32 network of the digits, 0.08 for the former's int8 graphs."""
FLAT = 1e-6  # changes up to this share of the logits' size are float32 rounding; ours
STAGES = 3  # `after` hears of so many

Floats = NDArray[np.float64]
Images = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """n points float32 (n, c, h, w), the gradients (n, c, h, w) there, the logits (n, k) and their weights (n, k)."""

    points: Images
    gradients: Images
    weights: Floats
    logits: Floats

    @property
    def floor(self) -> Floats:
        """Float32 rounding of the weighted logits (n,)."""
        return FLAT * np.abs(self.weights).sum(1) * np.abs(self.logits).max(1)

    def joined(self, other: "Asked") -> "Asked":
        """These points, then the others."""
        return Asked(**{f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)})

    def take(self, rows: NDArray[np.int64]) -> "Asked":
        """These rows alone."""
        return Asked(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def check_gradients(
    classifier: Classifier,
    inputs: AttackInputs,
    *,
    precision: str,
    generator: np.random.Generator,
    after: Callable[[int, str], None] = lambda done, what: None,
) -> GradientCheck:
    """Compare the classifier's gradients with differences of its logits at POINTS random points.

    `precision` is the engine's: fp32, fp16 or int8. Where there are fewer images than points, an image gives several.
    Costs 1.5 passes forward and backward a point, and forward ones: 8 in fp32, 10 in fp16, 12 in int8. That is 96 and
    768 images at most, in 2 and 12 calls.
    `after` hears (stages done, of STAGES; which). Expects what `check_arrays` and `check_classifier` let pass.

    Raises UnknownNameError for another precision, ConfigError for a radius of 0.
    """
    if precision not in DISTANCES:
        raise UnknownNameError("precision", precision, DISTANCES)
    if inputs.eps <= 0:
        raise ConfigError("the radius is 0: gradients are checked inside the ball, so it must be above 0")
    asked = _ask(_Host(classifier, inputs), inputs, generator)
    after(1, "gradients at random points")
    return compare(classifier, inputs, asked, precision=precision, generator=generator, after=after)


def shown_precision(
    classifier: Classifier, inputs: AttackInputs, precision: Precision, *, generator: np.random.Generator
) -> Precision:
    """The precision whose thresholds count: the one that is said, or fp32 where the engine shows no rounding.

    A float32 engine that says int8 would be judged by slopes as coarse as int8's. Costs 4 * POINTS images.
    """
    if precision == "fp32":
        return precision
    host = _Host(classifier, inputs)
    rows = generator.integers(0, int(inputs.images.shape[0]), POINTS)
    images: Images = np.asarray(on_host(inputs.images[rows]), np.float32)
    seeds = [(int(seed),) for seed in generator.integers(0, 2**63, POINTS)]
    points: Images = random_start(images, eps=inputs.eps, norm=inputs.norm, seeds=seeds)
    direction = coarse_signs(points.shape, inputs.norm, generator)
    slopes: list[Floats] = []
    for share in DISTANCES["fp32"]:
        step = direction * (share * inputs.eps)
        ends = [np.asarray(points + sign * step, np.float32) for sign in (1, -1)]
        slopes.append((host.logits(ends[0]) - host.logits(ends[1])) / share)
    near, far = (each.tolist() for each in slopes)
    return "fp32" if np.median([concordance(p, m) for p, m in zip(near, far, strict=True)]) >= SMOOTH else precision


def compare(
    classifier: Classifier,
    inputs: AttackInputs,
    asked: Asked,
    *,
    precision: str,
    generator: np.random.Generator,
    after: Callable[[int, str], None] = lambda done, what: None,
) -> GradientCheck:
    """The gradients that were `asked` for against differences of the classifier's logits. See `check_gradients`."""
    differences = _Differences(_Host(classifier, inputs), asked)
    along = _unit(steepest(asked.gradients, inputs.norm), inputs.norm)
    tried = [differences(along, share * inputs.eps) for share in DISTANCES[precision]]
    agreement = np.stack([_rowwise(*each) for each in tried])
    after(2, "slopes along them")

    best = _furthest(agreement, precision) * inputs.eps
    signs = fine_signs if precision == "fp32" else coarse_signs  # what rounds hides slopes as small as fine ones have
    seen = [differences(signs(asked.points.shape, inputs.norm, generator), best) for _ in range(RANDOM)]
    predicted, measured = (np.stack([each[side] for each in seen], axis=-1) for side in (0, 1))
    random = np.asarray([concordance(p, m) for p, m in zip(predicted.tolist(), measured.tolist(), strict=True)])
    after(3, "slopes along random directions")

    largest = np.max([np.abs(each) for pair in (*tried, *seen) for each in pair], axis=0)
    return judge_gradients(
        steepest=agreement.max(0).tolist(),
        random=random.tolist(),
        flat=(largest <= asked.floor).tolist(),
        precision=precision,
    )


def fine_signs(shape: tuple[int, ...], norm: Norm, generator: np.random.Generator) -> Images:
    """Directions (n, c, h, w) of length one: a random sign at each value."""
    return _unit(generator.choice(np.asarray([-1, 1], np.float32), shape), norm)


def coarse_signs(shape: tuple[int, ...], norm: Norm, generator: np.random.Generator) -> Images:
    """Directions (n, c, h, w) of length one: random signs on grids of 2 to 4 cells a side, each its own."""
    n, channels, height, width = shape
    found = np.empty(shape, np.float32)
    for row in range(n):
        side = int(generator.integers(*GRIDS))
        cells = generator.choice(np.asarray([-1, 1], np.float32), (channels, side, side))
        down, across = (np.arange(size) * side // size for size in (height, width))
        found[row] = cells[:, down[:, None], across[None]]
    return _unit(found, norm)


class _Host:
    """The classifier on NumPy arrays, whatever library it takes."""

    def __init__(self, classifier: Classifier, inputs: AttackInputs) -> None:
        self._classifier = classifier
        self._xp = inputs.xp
        self._device = device_of(inputs.images)

    def logits(self, images: Images) -> Floats:
        return np.asarray(on_host(self._classifier.logits(self._xp.asarray(images, device=self._device))), np.float64)

    def gradient(self, images: Images, weigh: Callable[[Images], Images]) -> tuple[Floats, Images]:
        logits, gradient = self._classifier.gradient(
            self._xp.asarray(images, device=self._device),
            lambda z: self._xp.asarray(weigh(on_host(z)), device=self._device),
        )
        return np.asarray(on_host(logits), np.float64), np.asarray(on_host(gradient), np.float32)


class _Differences:
    """Predicted and measured changes (n,) of the weighted logits between two steps either way along a direction."""

    def __init__(self, classifier: _Host, asked: Asked) -> None:
        self._classifier = classifier
        self._asked = asked

    def __call__(self, direction: Images, distance: float | Floats) -> tuple[Floats, Floats]:
        """`direction` (n, c, h, w), `distance` a number or (n,). Steps end at 0 and 1: only images are asked about."""
        asked = self._asked
        step = direction * np.reshape(np.asarray(distance, np.float32), (-1, 1, 1, 1))
        ends = [np.minimum(np.maximum(asked.points + sign * step, np.float32(0)), np.float32(1)) for sign in (1, -1)]
        parts = (slice(first, first + 8) for first in range(0, len(step), 8))  # in float64, which large images fill
        predicted = [
            (asked.gradients[rows] * (ends[0][rows].astype(np.float64) - ends[1][rows])).sum((1, 2, 3))
            for rows in parts
        ]
        change = self._classifier.logits(ends[0]) - self._classifier.logits(ends[1])
        return np.concatenate(predicted), (asked.weights * change).sum(1)


def _ask(classifier: _Host, inputs: AttackInputs, generator: np.random.Generator) -> Asked:
    """Points around images drawn at random, half of them moved by an attack's step, and the gradients there."""
    n = int(inputs.images.shape[0])
    order = np.concatenate([generator.permutation(n) for _ in range(-(-POINTS // n))])[:POINTS]
    images: Images = np.asarray(on_host(inputs.images[order]), np.float32)
    labels: NDArray[np.int64] = np.asarray(on_host(inputs.labels))[order]
    seeds = [(int(seed),) for seed in generator.integers(0, 2**63, POINTS)]
    points: Images = random_start(images, eps=inputs.eps, norm=inputs.norm, seeds=seeds)

    attacked = generator.permutation(POINTS)[: POINTS // 2]
    _, uphill = classifier.gradient(points[attacked], lambda z: margin(z, labels[attacked])[1])
    further = points[attacked] + inputs.eps * steepest(uphill, inputs.norm)
    points[attacked] = project(further, images[attacked], eps=inputs.eps, norm=inputs.norm)

    used: list[Images] = []

    def weigh(logits: Images) -> Images:
        used.append(_drawn_losses(logits, labels, generator))
        return used[-1]

    logits, gradients = classifier.gradient(points, weigh)
    return Asked(points=points, gradients=gradients, weights=used[-1].astype(np.float64), logits=logits)


def _drawn_losses(logits: Images, labels: NDArray[np.int64], generator: np.random.Generator) -> Images:
    """The derivative (n, k) in the logits of a loss drawn for each row; the margin's where another's is zero."""
    n, classes = logits.shape
    others = np.asarray((labels + generator.integers(1, classes, n)) % classes, np.int64)
    derivatives = np.stack(
        [
            margin(logits, labels)[1],
            cross_entropy(logits, labels)[1],
            margin_targeted(logits, labels, others)[1],
            generator.standard_normal((n, classes)),
        ]
    ).astype(np.float32)
    drawn = derivatives[generator.integers(0, len(derivatives), n), np.arange(n)]
    return np.where((drawn == 0).all(1, keepdims=True), derivatives[0], drawn)


def _furthest(agreement: Floats, precision: str) -> Floats:
    """Of the distances (d,), by their `agreement` (d, n): the furthest one that is nearly as good as the best (n,)."""
    good = agreement >= agreement.max(0) - NEARLY[precision]
    return np.asarray(DISTANCES[precision])[len(good) - 1 - good[::-1].argmax(0)]


def _rowwise(predicted: Floats, measured: Floats) -> Floats:
    """The concordance of each point's one predicted and one measured change (n,)."""
    return np.asarray([concordance([p], [m]) for p, m in zip(predicted.tolist(), measured.tolist(), strict=True)])


def _unit(directions: Images, norm: Norm) -> Images:
    """Of length one, but for those that are zero."""
    size = length(directions, norm)
    return (directions / np.where(size > 0, size, 1)).astype(np.float32)
