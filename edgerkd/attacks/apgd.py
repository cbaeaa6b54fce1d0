"""Auto-PGD: projected gradient descent that finds its own step size. Source: Croce and Hein 2020, arXiv 2003.01690."""

from dataclasses import dataclass, replace
from functools import partial

from array_api_compat import array_namespace

from edgerkd.attacks.active_set import ActiveSet, AttackInputs, kept
from edgerkd.attacks.arrays import device_of
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.ball import project, random_start, steepest
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.losses import Loss, cross_entropy, dlr, dlr_targeted, margin, margin_targeted, one_hot

MOMENTUM = 0.75  # alpha, section 3.1
RISES = 0.75  # rho, section 3.1, condition 1
STEPS = 100  # of the ensemble's APGD and FAB, section 5
TARGETS = 9  # of their targeted forms, section 5
FEW_TARGETS = 3  # ours


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ascent:
    """Where each image's ascent stands: `f` is the loss at `x`, `f_max` its largest so far, at `x_max`."""

    images: Array
    aims: tuple[Array, ...]
    x: Array
    x_old: Array
    x_max: Array
    gradient_max: Array
    f: Array
    f_max: Array
    f_max_mark: Array
    rises: Array
    step: Array
    halved: Array


def apgd(
    classifier: Classifier,
    inputs: AttackInputs,
    *,
    loss: Loss,
    steps: int,
    restarts: int = 1,
    targets: int | None = None,
) -> Array:
    """Adversarial images (n, c, h, w): the first iterate that fools, else the one of highest loss.

    With `targets`, each restart aims at so many wrong classes one after the other, or at all where there are fewer, the
    likeliest first, and `loss` takes the target as its third argument. An image leaves as soon as it is fooled.
    """
    active = ActiveSet(inputs)
    ranked = None if targets is None else ranked_wrong(classifier, inputs)
    aimed = 1 if targets is None or ranked is None else min(targets, ranked.shape[1])
    for salt in range(restarts * aimed):
        if not active.left:
            break
        aims = (active.labels,) if ranked is None else (active.labels, ranked[active.where, salt % aimed])
        _climb(classifier, inputs, active, aims, loss=loss, steps=steps, salt=salt)
    return active.images_adv


def checkpoints(steps: int) -> list[int]:
    """Where the step size is reconsidered: at 0.22 of the steps, then after gaps each 0.03 shorter, to 0.06."""
    marks, gap = [22], 22  # in hundredths, which are exact
    while marks[-1] < 100:
        gap = max(gap - 3, 6)
        marks.append(marks[-1] + gap)
    return [-(-mark * steps // 100) for mark in marks if mark < 100]


def ranked_wrong(classifier: Classifier, inputs: AttackInputs) -> Array:
    """The wrong classes of each image (n, k - 1), the likeliest first."""
    xp = inputs.xp
    logits = classifier.logits(inputs.images)
    right = one_hot(inputs.labels, logits) > 0
    lowest = xp.asarray(-xp.inf, dtype=logits.dtype, device=device_of(logits))
    return xp.argsort(xp.where(right, lowest, logits), axis=-1, descending=True)[:, :-1]


def _climb(
    classifier: Classifier,
    inputs: AttackInputs,
    active: ActiveSet,
    aims: tuple[Array, ...],
    *,
    loss: Loss,
    steps: int,
    salt: int,
) -> None:
    """Algorithm 1 of the paper, from one random start, on the images that are left."""
    xp, norm, eps = inputs.xp, inputs.norm, inputs.eps
    at = _begin(inputs, active, aims, salt)
    marks = checkpoints(steps)
    for k in range(steps):
        aims = at.aims
        logits, gradient = classifier.gradient(at.x, lambda z, aims=aims: loss(z, *aims)[1])
        f = loss(logits, *aims)[0]
        keep = active.record(at.x, logits, f)
        if keep is not None:
            at, gradient, f = kept(at, keep), gradient[keep], f[keep]
        if not active.left:
            return
        higher = f > at.f_max
        wide = higher[:, None, None, None]
        at = replace(
            at,
            rises=at.rises + xp.astype(f > at.f, f.dtype),
            f=f,
            f_max=xp.where(higher, f, at.f_max),
            x_max=xp.where(wide, at.x, at.x_max),
            gradient_max=xp.where(wide, gradient, at.gradient_max),
        )
        if k in marks:
            before = marks[marks.index(k) - 1] if k != marks[0] else 0
            at, gradient = _reconsider(at, gradient, window=k - before)
        z = project(at.x + at.step * steepest(gradient, norm), at.images, eps=eps, norm=norm)
        if k > 0:
            z = at.x + MOMENTUM * (z - at.x) + (1 - MOMENTUM) * (at.x - at.x_old)
            z = project(z, at.images, eps=eps, norm=norm)
        at = replace(at, x=z, x_old=at.x)
    logits = classifier.logits(at.x)
    active.record(at.x, logits, loss(logits, *at.aims)[0])


def _begin(inputs: AttackInputs, active: ActiveSet, aims: tuple[Array, ...], salt: int) -> _Ascent:
    """At a random point of the ball, from which a first step goes as far as the ball is wide."""
    xp, eps = inputs.xp, inputs.eps
    x = random_start(active.images, eps=eps, norm=inputs.norm, seeds=inputs.seeds(active.rows, "apgd", salt))
    lowest = xp.full((x.shape[0],), -xp.inf, dtype=x.dtype, device=device_of(x))
    return _Ascent(
        images=active.images,
        aims=aims,
        x=x,
        x_old=x,
        x_max=x,
        gradient_max=x,
        f=-lowest,  # the start is no rise
        f_max=lowest,
        f_max_mark=lowest,
        rises=xp.zeros_like(lowest),
        step=xp.full((x.shape[0], 1, 1, 1), 2 * eps, dtype=x.dtype, device=device_of(x)),
        halved=lowest > 0,
    )


def _reconsider(at: _Ascent, gradient: Array, *, window: int) -> tuple[_Ascent, Array]:
    """Halve the step, and go on from the best point, where the loss rose too seldom or its best has not moved."""
    xp = array_namespace(gradient)
    stuck = (at.rises < RISES * window) | (~at.halved & (at.f_max <= at.f_max_mark))
    wide = stuck[:, None, None, None]
    gradient = xp.where(wide, at.gradient_max, gradient)
    return replace(
        at,
        x=xp.where(wide, at.x_max, at.x),
        f=xp.where(stuck, at.f_max, at.f),
        step=xp.where(wide, at.step / 2, at.step),
        halved=stuck,
        f_max_mark=at.f_max,
        rises=xp.zeros_like(at.rises),
    ), gradient


def _dlr(logits: Array, labels: Array) -> tuple[Array, Array]:
    """DLR, or the margin where there are not the three classes that it needs."""
    return (dlr if logits.shape[-1] >= 3 else margin)(logits, labels)


def _dlr_targeted(logits: Array, labels: Array, targets: Array) -> tuple[Array, Array]:
    """Targeted DLR, or the margin where there are not the four classes that it needs."""
    return (dlr_targeted if logits.shape[-1] >= 4 else margin_targeted)(logits, labels, targets)


_SOURCES = ("Croce and Hein 2020, arXiv 2003.01690, sections 3 to 5",)

APGD_CE = Attack(
    id="apgd-ce",
    title="APGD-CE",
    description="Auto-PGD on the cross-entropy, 100 steps",
    sources=_SOURCES,
    source="direct",
    run=partial(apgd, loss=cross_entropy, steps=STEPS),
)
APGD_T = Attack(
    id="apgd-t",
    title="APGD-T",
    description="Auto-PGD on the targeted difference of logits ratio, 100 steps towards each of 9 wrong classes",
    sources=_SOURCES,
    source="direct",
    least_classes=4,
    run=partial(apgd, loss=_dlr_targeted, steps=STEPS, targets=TARGETS),
)
APGD_T3 = Attack(
    id="apgd-t3",
    title="APGD-T, 3 targets",
    description="Auto-PGD on the targeted difference of logits ratio, 100 steps towards each of 3 wrong classes",
    sources=(*_SOURCES, "3 of 9 targets: ours"),
    source="direct",
    least_classes=4,
    run=partial(apgd, loss=_dlr_targeted, steps=STEPS, targets=FEW_TARGETS),
)
ATTACKS = (
    APGD_CE,
    APGD_T3,
    Attack(
        id="apgd-dlr",
        title="APGD-DLR",
        description="Auto-PGD on the difference of logits ratio, 100 steps",
        sources=_SOURCES,
        source="direct",
        least_classes=3,
        run=partial(apgd, loss=_dlr, steps=STEPS),
    ),
    APGD_T,
)
