"""What a sceptic would ask before believing a robust accuracy: signs that attacks were blind, not the model robust.

Sources: Carlini et al. 2019, arXiv 1902.06705, section 3 (the checks); Athalye et al. 2018, arXiv 1802.00420,
section 3.1 (masked gradients); AutoAttack, flags_doc.md and checks.py (its own flags). A threshold without a source
is ours.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from edgerkd.attacks import flag_kinds as kinds
from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.apgd import APGD_CE, APGD_T, apgd
from edgerkd.attacks.arrays import device_of, on_host
from edgerkd.attacks.assess import Outcomes, assess_chunk
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.ball import length, random_start
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.doubts import descent, mixed, on_the_way, plain_changes
from edgerkd.attacks.looks import LEFT_STANDING, ascent, beyond_chance, fooled_by_pgd, look, too_many
from edgerkd.attacks.losses import cross_entropy, margin, margin_targeted, one_hot
from edgerkd.attacks.pgd import pgd
from edgerkd.attacks.row_flags import by_queries, first_of_each, flags_of_rows
from edgerkd.attacks.sanity import are_probabilities
from edgerkd.attacks.square import SQUARE, square
from edgerkd.core.flag import Flag

CALLS = 5  # of the same images; AutoAttack, check_randomized
DIFFERENCE = 1e-4  # between two calls, as a share of the logits' range; the same, there of their L2 norm
SATURATED = 0.1  # share of images whose softmax rounds to 1, above which saturation is looked into
STEPS = (0, 5, 20, 40)  # of PGD, compared with one another
NOISE = 0.5  # of what PGD gains: noise that gains more is as strong
QUERIES = 300  # of Square, on the images the white-box attacks leave
WHITE_BOX_STEPS = 25  # of each APGD, against which Square and transfer are held
WHITE_BOX_TARGETS = 3
GREY = 0.5  # radius in L-inf at which every image can be made plain grey
HOLDS = 0.1  # share of images that may hold at that radius: a lopsided linear model truly holds a few
SMALLER = (1 / 8, 1 / 2)  # shares of the radius that are tried as well, in so many steps of PGD; ours
SMALLER_STEPS = 10
SAMPLE = 32  # images that are probed: up to 260 gradients and 460 forward passes each
PROBES = 11  # `after` hears of so many, or fewer where there is nothing to attack


def raise_flags(
    classifier: Classifier,
    inputs: AttackInputs,
    *,
    images_transfer: Array | None = None,
    held: NDArray[np.bool_] | None = None,
    partners: Array | None = None,
    after: Callable[[int, str], None] = lambda done, what: None,
) -> tuple[Flag, ...]:
    """All signs that attacks overrate this classifier, looked for on a sample: 32 to 64 images are enough.

    `images_transfer` (n, c, h, w) are adversarial images for the same clean ones, made against another network, and
    `partners` (n, c, h, w) another image of the class for each, or itself where there is none.
    `after` hears (probes done, of PROBES at most; what was looked at). What needs an attack is asked of the images
    that are classified right, and only where the radius is above 0.

    Costs an image at most 261 passes forward and backward and 162 + QUERIES forward; where logits saturate 40 and 4
    more. Expects what `check_arrays` and `check_classifier` let pass.
    `held` (n,) says which images the attacks of the figure in doubt left standing.
    """
    xp = inputs.xp
    calls = [classifier.logits(inputs.images) for _ in range(CALLS)]
    right = on_host(xp.argmax(calls[0], axis=-1) == inputs.labels)
    rows = np.flatnonzero(right)
    where = xp.asarray(rows, device=device_of(inputs.images))
    part = replace(inputs, images=inputs.images[where], labels=inputs.labels[where], index=inputs.index[rows])
    transfer = None if images_transfer is None else images_transfer[where]
    held_part = None if held is None else held[rows]
    partner = None if partners is None else partners[where]
    probes: dict[str, Callable[[], Iterator[Flag]]] = {"its answers": lambda: _answers(calls)}
    if len(rows):
        probes["its gradients"] = lambda: _gradients(classifier, part)
    if len(rows) and inputs.eps > 0:
        probes |= {
            "saturation": lambda: _saturation(classifier, part, calls[0][where]),
            "more steps": lambda: _steps(classifier, part),
            "queries and transfer": lambda: _beyond_white_box(classifier, part, transfer, held_part),
            "a large radius": lambda: _large_radius(classifier, part),
            "smaller radii": lambda: _smaller_radii(classifier, part, held_part),
            "plain changes": lambda: plain_changes(classifier, part, held_part),
            "a descent": lambda: descent(classifier, part),
            "ways between images": lambda: on_the_way(classifier, part),
            "mixed images": lambda: mixed(classifier, part, partner),
        }
    found: list[Flag] = []
    for number, (what, probe) in enumerate(probes.items(), 1):
        found += probe()
        after(number, what)
    return tuple(found)


def all_flags(
    classifier: Classifier,
    attacks: Sequence[Attack],
    inputs: AttackInputs,
    found: Outcomes,
    *,
    generator: np.random.Generator,
    images_transfer: Array | None = None,
    after: Callable[[int, str], None] = lambda done, what: None,
) -> tuple[Flag, ...]:
    """Every flag of outcomes: the probes on 32 images that `generator` draws, its rows, and its images."""
    xp = inputs.xp
    rows = generator.permutation(len(inputs.index))[:SAMPLE]
    where = xp.asarray(rows, device=device_of(inputs.images))
    sample = AttackInputs(
        images=inputs.images[where],
        labels=inputs.labels[where],
        threat_model=inputs.threat_model,
        seed=inputs.seed,
        index=inputs.index[rows],
    )
    transfer = None if images_transfer is None else images_transfer[where]
    others = xp.asarray(_of_the_same_class(on_host(inputs.labels), rows, generator), device=device_of(inputs.images))
    flags = (
        *flags_of_rows(found.rows(attacks), int(found.clean.sum())),
        *check_within(found.images_adv, inputs),
        *raise_flags(
            classifier,
            sample,
            images_transfer=transfer,
            held=found.robust[rows],
            partners=inputs.images[others],
            after=after,
        ),
    )
    # All outcomes and the sample may show the same: the first of a kind, from the whole, is kept.
    return first_of_each(flags)


def check_within(images_adv: Array, inputs: AttackInputs) -> tuple[Flag, ...]:
    """Flags for adversarial images (n, c, h, w) that are further from `inputs.images` than eps, or outside [0, 1].

    Float32 rounding is allowed for, pixel by pixel. NaN is outside of both.
    """
    shape = images_adv.shape
    rounding = float(np.finfo(np.float32).eps) * (1 if inputs.norm == "Linf" else math.sqrt(math.prod(shape[1:])))
    distances, lows, highs = np.empty((3, shape[0]))
    for rows in (slice(first, first + SAMPLE) for first in range(0, shape[0], SAMPLE)):
        x, images = (np.asarray(on_host(each[rows]), np.float64) for each in (images_adv, inputs.images))
        distances[rows] = length(x - images, inputs.norm).ravel()
        lows[rows], highs[rows] = x.min(axis=(1, 2, 3)), x.max(axis=(1, 2, 3))
    far, out = ~(distances <= inputs.eps + rounding), ~((lows >= 0) & (highs <= 1))
    found: list[Flag] = []
    if far.any():
        found.append(
            kinds.OUTSIDE_BALL.raised(
                far=int(far.sum()), n=len(far), eps=inputs.eps, furthest=float(distances.max()), norm=inputs.norm
            )
        )
    if out.any():
        found.append(
            kinds.OUTSIDE_RANGE.raised(out=int(out.sum()), n=len(far), low=float(lows.min()), high=float(highs.max()))
        )
    return tuple(found)


def _answers(calls: Sequence[Array]) -> Iterator[Flag]:
    """The same images asked several times, and what kind of numbers come back."""
    logits = np.stack([on_host(each) for each in calls])
    spread, size = float(np.ptp(logits, axis=0).max()), float(np.ptp(logits[0]))
    if spread > DIFFERENCE * size:
        yield kinds.RANDOMISED.raised(calls=CALLS, spread=spread, size=size)
    if are_probabilities(calls[0]):
        yield kinds.SOFTMAX.raised(n=logits.shape[1])


def _gradients(classifier: Classifier, inputs: AttackInputs) -> Iterator[Flag]:
    """The gradient of the margin, which no saturation can flatten. One image is enough, as in AutoAttack."""
    _, found = classifier.gradient(inputs.images, lambda z: margin(z, inputs.labels)[1])
    zero = (on_host(found) == 0).all(axis=(1, 2, 3))
    if zero.any():
        yield kinds.ZERO_GRADIENTS.raised(zero=int(zero.sum()), n=len(zero))


def _saturation(classifier: Classifier, inputs: AttackInputs, logits: Array) -> Iterator[Flag]:
    """Where the softmax rounds to 1, whether cross-entropy fools more once the logits are divided by their margin."""
    xp = array_namespace(logits)
    slope = xp.sum(cross_entropy(logits, inputs.labels)[1] * one_hot(inputs.labels, logits), axis=-1)
    saturated = float(on_host(slope == 0).mean())
    if saturated < SATURATED:
        return
    temperature = float(-on_host(margin(logits, inputs.labels)[0]).mean())  # above 1, for the saturated are above 16
    attack = partial(pgd, classifier, inputs, steps=20, step_size=inputs.eps / 4)

    def divided(logits: Array, labels: Array) -> tuple[Array, Array]:
        return cross_entropy(logits / temperature, labels)

    plain = look(classifier, attack(loss=cross_entropy), inputs.labels).fooled
    cooled = look(classifier, attack(loss=divided), inputs.labels).fooled
    if beyond_chance(cooled & ~plain, plain & ~cooled):
        yield kinds.SATURATED.raised(
            saturated=saturated, plain=int(plain.sum()), n=len(plain), cooled=int(cooled.sum()), temperature=temperature
        )


def _steps(classifier: Classifier, inputs: AttackInputs) -> Iterator[Flag]:
    """PGD's last iterate after more and more steps, and the random noise it starts from.

    Restarts need no such probe: every attack keeps what any of its restarts fooled.
    """
    clean = look(classifier, inputs.images, inputs.labels)
    start = random_start(
        inputs.images, eps=inputs.eps, norm=inputs.norm, seeds=inputs.seeds(np.arange(len(inputs.index)), "noise")
    )
    seen = [look(classifier, start, inputs.labels)]
    for step, x in enumerate(ascent(classifier, inputs, start, eps=inputs.eps, steps=STEPS[-1]), 1):
        if step in STEPS:
            seen.append(look(classifier, x, inputs.labels))
    noise, last = seen[0], seen[-1]
    weaker = [
        kinds.WEAKER.raised(
            many=int(many.fooled.sum()), n=len(many.fooled), steps=b, few=int(few.fooled.sum()), fewer_steps=a
        )
        for (a, few), (b, many) in combinations(zip(STEPS, seen, strict=True), 2)
        if beyond_chance(few.fooled & ~many.fooled, many.fooled & ~few.fooled)
    ]
    fell = last.loss < noise.loss
    if beyond_chance(fell, last.loss > noise.loss):
        weaker.append(kinds.LOSS_FALLS.raised(steps=STEPS[-1], fell=int(fell.sum()), n=len(fell)))
    yield from weaker[:1]
    by_noise, by_pgd = (float((each.loss - clean.loss).mean()) for each in (noise, last))
    if max(by_noise, 0.0) >= NOISE * by_pgd and not last.fooled.all():
        yield kinds.NOISE.raised(noise=by_noise, steps=STEPS[-1], pgd=by_pgd)


def _beyond_white_box(
    classifier: Classifier, inputs: AttackInputs, images_transfer: Array | None, held: NDArray[np.bool_] | None
) -> Iterator[Flag]:
    """What short APGD fools of what was `held`; what queries and images from elsewhere fool of what APGD left."""
    climb = partial(apgd, steps=WHITE_BOX_STEPS)
    attacks = (
        APGD_CE.with_budget(WHITE_BOX_STEPS, partial(climb, loss=cross_entropy)),
        APGD_T.with_budget(WHITE_BOX_STEPS, partial(climb, loss=margin_targeted, targets=WHITE_BOX_TARGETS)),
        SQUARE.with_budget(QUERIES, partial(square, queries=QUERIES)),
    )
    found = assess_chunk(classifier, attacks, inputs)
    yield from check_within(found.images_adv, inputs)
    yield from by_queries(found.rows(attacks))
    fooled = 0 if held is None else int((held & ~found.resisted[1]).sum())
    if too_many(fooled, len(inputs.index), LEFT_STANDING):
        yield kinds.STRONGER_GOES_FURTHER.raised(steps=WHITE_BOX_STEPS, fooled=fooled, n=len(inputs.index))
    if images_transfer is None:
        return
    outside = check_within(images_transfer, inputs)
    if outside:
        yield from outside
        return
    missed = look(classifier, images_transfer, inputs.labels).fooled & found.resisted[1]
    if too_many(missed.sum(), len(missed), LEFT_STANDING):
        yield kinds.TRANSFER.raised(fooled=int(missed.sum()), n=len(missed))


def _large_radius(classifier: Classifier, inputs: AttackInputs) -> Iterator[Flag]:
    """PGD at the radius at which every image can be made the same grey, so that all but one class can be fooled."""
    eps = GREY if inputs.norm == "Linf" else GREY * math.sqrt(math.prod(inputs.images.shape[1:]))
    held = ~fooled_by_pgd(classifier, inputs, eps=eps, steps=20)
    if too_many(held.sum(), len(held), HOLDS):
        by_grey = held & look(classifier, inputs.images * 0 + GREY, inputs.labels).fooled
        yield kinds.ANY_RADIUS.raised(
            held=int(held.sum()), n=len(held), eps=eps, norm=inputs.norm, by_grey=int(by_grey.sum())
        )


def _smaller_radii(classifier: Classifier, inputs: AttackInputs, held: NDArray[np.bool_] | None) -> Iterator[Flag]:
    """PGD within parts of the ball, on the images that were `held` in all of it: what it fools there, it fools.

    It goes further only where the model is another one close to an image than at the surface, where attacks go.
    """
    if held is None:
        return
    for share in SMALLER:
        found = fooled_by_pgd(classifier, inputs, eps=share * inputs.eps, steps=SMALLER_STEPS)
        fooled = int((held & found).sum())
        if too_many(fooled, len(held), LEFT_STANDING):
            yield kinds.SMALLER_RADIUS.raised(share=share, fooled=fooled, n=len(held))
            return


def _of_the_same_class(
    labels: NDArray[np.int64], rows: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """For each of the rows another one of its label, or itself where there is none."""
    found: NDArray[np.int64] = np.array(rows)
    for place, row in enumerate(rows):
        others = np.flatnonzero(labels == labels[row])
        others = others[others != row]
        if len(others):
            found[place] = generator.choice(others)
    return found
