"""Projected gradient descent. Source: Madry et al. 2018, arXiv 1706.06083, section 2.1."""

from collections.abc import Callable, Iterator

import numpy as np
from array_api_compat import array_namespace

from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.losses import Loss, cross_entropy
from edgerkd.attacks.projection import project_linf
from edgerkd.core.errors import ConfigError


def random_start(images: Array, *, eps: float, generator: np.random.Generator) -> Array:
    """Images moved uniformly at random inside the ball, the same for one seed on every array library."""
    xp = array_namespace(images)
    noise = generator.uniform(-eps, eps, size=tuple(images.shape)).astype(np.float32)
    return project_linf(images + xp.asarray(noise, device=images.device), images, eps)


def ascend(
    classifier: Classifier, images: Array, start: Array, *, loss: Loss, eps: float, step_size: float, steps: int
) -> Iterator[tuple[Array, Array | None]]:
    """Every iterate with its logits, from `start`; the last one comes with None, not having been evaluated."""
    xp = array_namespace(images)
    images_adv = start
    for _ in range(steps):
        logits, gradient = classifier.gradient(images_adv, lambda z: loss(z)[1])
        yield images_adv, logits
        images_adv = project_linf(images_adv + step_size * xp.sign(gradient), images, eps)
    yield images_adv, None


def pgd(
    classifier: Classifier,
    images: Array,
    labels: Array,
    *,
    eps: float,
    steps: int,
    step_size: float,
    generator: np.random.Generator | None,
    loss: Callable[[Array], Loss] = cross_entropy,
) -> Array:
    """Adversarial images (n, c, h, w): of all iterates, one that fools where there is one, else that of highest loss.

    `generator` draws the random start; None starts at the images themselves. Radii are in [0, 1]
    pixel units. Raises ConfigError for a step size that is larger than the radius: the two are swapped.
    """
    if not 0 < step_size <= eps and eps > 0:
        raise ConfigError(f"step_size {step_size:g} must be above 0 and at most eps {eps:g}: are the two swapped?")
    xp = array_namespace(images)
    loss_of = loss(labels)
    start = images if generator is None else random_start(images, eps=eps, generator=generator)
    best, best_value = start, None
    for images_adv, logits in ascend(
        classifier, images, start, loss=loss_of, eps=eps, step_size=step_size, steps=steps
    ):
        logits = classifier.logits(images_adv) if logits is None else logits
        # A fooled image outranks every loss: a high loss on a right answer is worth nothing.
        fooled = xp.argmax(logits, axis=-1) != labels
        value = xp.where(fooled, xp.asarray(xp.inf, dtype=logits.dtype, device=logits.device), loss_of(logits)[0])
        better = value > best_value if best_value is not None else value == value
        best = xp.where(better[:, None, None, None], images_adv, best)
        best_value = value if best_value is None else xp.where(better, value, best_value)
    return best
