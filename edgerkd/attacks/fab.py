"""Targeted fast adaptive boundary attack: the nearest point across the boundary to one wrong class after another.

Source: Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
arXiv 1907.02044; its targeted form in arXiv 2003.01690, section 4.
"""

from dataclasses import dataclass, replace
from functools import partial

from array_api_compat import array_namespace

from edgerkd.attacks.active_set import ActiveSet, AttackInputs, kept
from edgerkd.attacks.apgd import STEPS, TARGETS, ranked_wrong
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.ball import length
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.losses import margin_targeted, one_hot
from edgerkd.core.threat import Norm

ALPHA_MAX = 0.1  # how far towards the clean image's own projection, at most; section 2.4
ETA = 1.05  # overshoot across the boundary; section 2.4
BETA = 0.9  # step back towards the clean image once across; section 2.4
NEWTON_STEPS = 30  # of the projection, at most; on images 5 to 10 are enough
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """Where each image's walk stands."""

    images: Array
    labels: Array
    targets: Array
    x: Array


def fab_targeted(classifier: Classifier, inputs: AttackInputs, *, steps: int, targets: int) -> Array:
    """Adversarial images (n, c, h, w) within the radius where one was found, else the best point inside it.

    So many `targets` are tried, or all wrong classes where there are fewer, the likeliest first.

    The walk looks for the smallest change and does not know the radius. Each point is asked once, for logits
    and gradient together: those say whether it fools, and where to go on from it. An image leaves as soon as
    a point inside the ball fools.
    """
    active = ActiveSet(inputs)
    ranked = ranked_wrong(classifier, inputs)
    for target in range(min(targets, ranked.shape[1])):
        if not active.left:
            break
        _walk(classifier, inputs, active, ranked[active.where, target], steps=steps)
    return active.images_adv


def _walk(classifier: Classifier, inputs: AttackInputs, active: ActiveSet, targets: Array, *, steps: int) -> None:
    """From the clean image, along the linearised boundary between its class and the target's."""
    norm = inputs.norm
    at = _Walk(images=active.images, labels=active.labels, targets=targets, x=active.images)
    for _ in range(steps):
        labels, aims = at.labels, at.targets
        logits, gradient = classifier.gradient(
            at.x, lambda z, labels=labels, aims=aims: margin_targeted(z, labels, aims)[1]
        )
        value, keep = _judged(active, at, logits, inputs)
        if keep is not None:
            at, gradient, value = kept(at, keep), gradient[keep], value[keep]
        if not active.left:
            return
        at = replace(at, x=_onward(at, gradient, value[:, None, None, None], norm))

    _judged(active, at, classifier.logits(at.x), inputs)


def _judged(active: ActiveSet, at: _Walk, logits: Array, inputs: AttackInputs) -> tuple[Array, Array | None]:
    """The margins towards the targets, and what `ActiveSet.record` says: a point outside the ball is no success."""
    xp = array_namespace(logits)
    value = margin_targeted(logits, at.labels, at.targets)[0]
    outside = ~(length(at.x - at.images, inputs.norm)[:, 0, 0, 0] <= inputs.eps)
    # Logits that are no numbers are passed on, for `record` to refuse.
    hidden = (outside & xp.all(xp.isfinite(logits), axis=1))[:, None]
    values = xp.where(outside, xp.full_like(value, -xp.inf), value)
    return value, active.record(at.x, xp.where(hidden, one_hot(at.labels, logits), logits), values)


def _onward(at: _Walk, gradient: Array, value: Array, norm: Norm) -> Array:
    """The next point: across the linearised boundary; from beyond it, back towards the clean image."""
    xp = array_namespace(gradient)
    at_clean = value + xp.sum(gradient * (at.images - at.x), axis=(1, 2, 3), keepdims=True)
    step, step_clean = boundary_step(at.x, gradient, value, norm), boundary_step(at.images, gradient, at_clean, norm)
    d, d_clean = length(step, norm), length(step_clean, norm)
    alpha = xp.clip(d / xp.clip(d + d_clean, _TINY, xp.inf), 0.0, ALPHA_MAX)
    onward = (at.x + ETA * step) * (1 - alpha) + (at.images + ETA * step_clean) * alpha
    # Beyond the boundary, but outside the ball: from further back the walk crosses nearer to the clean image.
    return xp.clip(xp.where(value > 0, at.images + BETA * (at.x - at.images), onward), 0.0, 1.0)


def boundary_step(x: Array, gradient: Array, value: Array, norm: Norm) -> Array:
    """The shortest step d with gradient . d = -value and x + d in [0, 1]; the furthest possible where none reaches.

    The step is -sign(value) * clip(t * direction) for one t >= 0 an image, and what it gains is concave in t:
    each coordinate gains at a constant rate until it meets the edge of [0, 1]. So Newton's method from t = 0
    never overshoots and ends after finitely many steps. (The paper sorts the edges; the result is the same.)
    """
    xp = array_namespace(x)
    axes = (1, 2, 3)
    side = xp.where(value < 0, -xp.ones_like(value), xp.ones_like(value))  # a tie counts as across
    slope = -side * gradient  # along it the value falls
    direction = xp.sign(slope) if norm == "Linf" else slope
    room = xp.where(direction > 0, 1.0 - x, x)  # how far each coordinate may go
    rate = xp.abs(direction)
    expected = xp.abs(value)
    t = xp.zeros_like(expected)
    for _ in range(NEWTON_STEPS):
        free = rate * t < room
        gained = xp.sum(xp.abs(slope) * xp.where(free, rate * t, room), axis=axes, keepdims=True)
        speed = xp.sum(xp.where(free, xp.abs(slope) * rate, xp.zeros_like(x)), axis=axes, keepdims=True)
        missing = expected - gained
        # What is missing by less than float32 can tell is not missing.
        going = (missing > 1e-6 * expected) & (speed > 0)
        if not bool(xp.any(going)):
            break
        t = t + xp.where(going, missing / xp.clip(speed, 1e-30, xp.inf), xp.zeros_like(t))
    return xp.sign(direction) * xp.clip(rate * t, xp.zeros_like(room), room)


ATTACKS = (
    Attack(
        id="fab-t",
        title="FAB-T",
        description="the nearest point across the boundary to each of 9 wrong classes, 100 steps each",
        sources=("Croce and Hein 2020, arXiv 1907.02044", "Croce and Hein 2020, arXiv 2003.01690, sections 4 and 5"),
        source="direct",
        run=partial(fab_targeted, steps=STEPS, targets=TARGETS),
    ),
)
