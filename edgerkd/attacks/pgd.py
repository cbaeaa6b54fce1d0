"""Projected gradient descent. Source: Madry et al. 2018, arXiv 1706.06083, section 2.1."""

from collections.abc import Iterator

from array_api_compat import array_namespace

from edgerkd.attacks.active_set import ActiveSet, AttackInputs
from edgerkd.attacks.ball import project, random_start, steepest
from edgerkd.attacks.classifier import Array, Classifier, Cotangent
from edgerkd.attacks.losses import Loss
from edgerkd.core.errors import ConfigError
from edgerkd.core.threat import Norm


def ascend(
    classifier: Classifier,
    images: Array,
    start: Array,
    *,
    cotangent: Cotangent,
    norm: Norm,
    eps: float,
    step_size: float,
    steps: int,
) -> Iterator[Array]:
    """Every iterate after `start`: what training uses, where the last one is all that counts."""
    check_steps(step_size, eps)
    images_adv = start
    for _ in range(steps):
        _, gradient = classifier.gradient(images_adv, cotangent)
        images_adv = project(images_adv + step_size * steepest(gradient, norm), images, eps=eps, norm=norm)
        yield images_adv


def pgd(
    classifier: Classifier,
    inputs: AttackInputs,
    *,
    loss: Loss,
    steps: int,
    step_size: float,
    restarts: int = 1,
    from_images: bool = False,
    targets: Array | None = None,
) -> Array:
    """Adversarial images (n, c, h, w): the first iterate that fools, else the one of highest loss.

    Each restart begins at another random point, the first at the images themselves with `from_images`.
    `loss` gets the labels, or with `targets` the rows of that: class probabilities (n, k) for the KL divergence.
    An image leaves as soon as it is fooled. Raises ConfigError for a step that is larger than the radius.
    """
    check_steps(step_size, inputs.eps)
    active = ActiveSet(inputs)
    for restart in range(restarts):
        if not active.left:
            break
        at_images = from_images and restart == 0
        images, seeds = active.images, inputs.seeds(active.rows, "pgd", restart)
        aims = active.labels if targets is None else targets[active.where]
        x = images if at_images else random_start(images, eps=inputs.eps, norm=inputs.norm, seeds=seeds)
        for step in range(steps + 1):
            logits, gradient = _evaluate(classifier, x, loss, aims, last=step == steps)
            keep = active.record(x, logits, loss(logits, aims)[0])
            if keep is not None:
                images, aims, x, gradient = images[keep], aims[keep], x[keep], gradient[keep]
            if not active.left or step == steps:
                break
            x = project(x + step_size * steepest(gradient, inputs.norm), images, eps=inputs.eps, norm=inputs.norm)
    return active.images_adv


def check_steps(step_size: float, eps: float) -> None:
    """Raises ConfigError for a step size above the radius: the two have been swapped before, in published code."""
    if not 0 < step_size <= eps and eps > 0:
        raise ConfigError(f"step_size {step_size:g} must be above 0 and at most eps {eps:g}: are the two swapped?")


def _evaluate(classifier: Classifier, x: Array, loss: Loss, aims: Array, *, last: bool) -> tuple[Array, Array]:
    """Logits and gradient; after the last step the gradient is not needed, and the images stand in for it."""
    if last:
        return classifier.logits(x), array_namespace(x).asarray(x)
    return classifier.gradient(x, lambda z: loss(z, aims)[1])
