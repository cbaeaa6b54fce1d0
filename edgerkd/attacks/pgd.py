"""Projected gradient descent. Source: Madry et al. 2018, arXiv 1706.06083, section 2.1."""

from collections.abc import Iterator

from array_api_compat import array_namespace

from edgerkd.attacks.active_set import ActiveSet, AttackInputs
from edgerkd.attacks.attack import Attack, Run
from edgerkd.attacks.ball import project, random_start, steepest
from edgerkd.attacks.classifier import Array, Classifier, Cotangent
from edgerkd.attacks.losses import Loss, cross_entropy, kl_divergence, log_softmax, margin
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


def _quarters(loss: Loss, steps: int, restarts: int = 1) -> Run:
    """PGD in steps of a quarter of the radius: 2/255 for 8/255. Source: Madry et al. 2018, section 5, CIFAR-10."""
    return lambda classifier, inputs: pgd(
        classifier, inputs, loss=loss, steps=steps, step_size=inputs.eps / 4, restarts=restarts
    )


def _fgsm(classifier: Classifier, inputs: AttackInputs) -> Array:
    """One step of the whole radius from the image. Source: Goodfellow et al. 2015, arXiv 1412.6572, section 4."""
    return pgd(classifier, inputs, loss=cross_entropy, steps=1, step_size=inputs.eps, from_images=True)


def _kl(classifier: Classifier, inputs: AttackInputs) -> Array:
    """Away from the model's own clean answer. Source: Zhang et al. 2019 (TRADES), arXiv 1901.08573, eq. 5."""
    xp = inputs.xp
    clean = xp.exp(log_softmax(classifier.logits(inputs.images)))
    return pgd(classifier, inputs, loss=kl_divergence, steps=20, step_size=inputs.eps / 4, targets=clean)


_MADRY = ("Madry et al. 2018, arXiv 1706.06083, sections 2.1 and 5",)

ATTACKS = (
    Attack(
        id="fgsm",
        title="FGSM",
        description="one step of the whole radius",
        sources=("Goodfellow et al. 2015, arXiv 1412.6572, section 4",),
        source="direct",
        evidence="none",
        run=_fgsm,
    ),
    Attack(
        id="pgd-20-ce",
        title="PGD-20 CE",
        description="projected gradient ascent on the cross-entropy, 20 steps",
        sources=_MADRY,
        source="direct",
        evidence="little",
        run=_quarters(cross_entropy, 20),
    ),
    Attack(
        id="pgd-20-margin",
        title="PGD-20 margin",
        description="projected gradient ascent on the best wrong logit less the right one, 20 steps",
        sources=(*_MADRY, "Carlini and Wagner 2017, arXiv 1608.04644, f6"),
        source="direct",
        evidence="little",
        run=_quarters(margin, 20),
    ),
    Attack(
        id="pgd-kl",
        title="PGD-20 KL",
        description="away from the model's own clean answer, 20 steps; labels are not asked for",
        sources=("TRADES: Zhang et al. 2019, arXiv 1901.08573, eq. 5",),
        source="direct",
        evidence="none",
        run=_kl,
    ),
    Attack(
        id="pgd-100",
        title="PGD-100 CE, 5 restarts",
        description="projected gradient ascent on the cross-entropy, 100 steps from each of 5 random points",
        sources=_MADRY,
        source="direct",
        evidence="little",
        run=_quarters(cross_entropy, 100, restarts=5),
    ),
)
