"""What a sceptic would ask before believing a robust accuracy: signs that attacks were blind, not the model robust.

Sources: Carlini et al. 2019, arXiv 1902.06705, section 3 (the checks); Athalye et al. 2018, arXiv 1802.00420,
section 3.1 (masked gradients); AutoAttack, flags_doc.md and checks.py (its own flags). A threshold without a source
is ours.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, pairwise
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.apgd import apgd
from edgerkd.attacks.arrays import device_of, on_host
from edgerkd.attacks.assess import Outcomes, assess_chunk
from edgerkd.attacks.ball import length, random_start
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.losses import cross_entropy, margin, margin_targeted, one_hot
from edgerkd.attacks.pgd import ascend, pgd
from edgerkd.attacks.sanity import are_probabilities
from edgerkd.attacks.square import square
from edgerkd.attacks.suite import Attack
from edgerkd.core.evaluation import Row

FlagName = Literal[
    "randomised output",
    "softmax output",
    "zero gradients",
    "saturated logits",
    "more steps, weaker attack",
    "noise as strong as PGD",
    "query attack beats white-box",
    "a stronger attack goes further",
    "transfer beats white-box",
    "robust at any radius",
    "outside the ball",
    "outside the range",
]

CALLS = 5  # of the same images; AutoAttack, check_randomized
DIFFERENCE = 1e-4  # between two calls, as a share of the logits' range; the same, there of their L2 norm
SATURATED = 0.1  # share of images whose softmax rounds to 1, above which saturation is looked into
STEPS = (0, 5, 20, 40)  # of PGD, compared with one another
NOISE = 0.5  # of what PGD gains: noise that gains more is as strong
QUERIES = 300  # of Square, on the images the white-box attacks leave
WHITE_BOX_STEPS = 25  # of each APGD, against which Square and transfer are held
WHITE_BOX_TARGETS = 3
LOWERS = 0.002  # by how much queries may lower what white-box attacks leave: 0.2 points; AutoAttack, flags_doc.md
TRANSFERS = 0.05  # the same for images from elsewhere, where longer attacks may have found them
GREY = 0.5  # radius in L-inf at which every image can be made plain grey
HOLDS = 0.1  # share of images that may hold at that radius: a lopsided linear model truly holds a few
SAMPLE = 32  # images that are probed: up to 160 gradients and 340 forward passes each
PROBES = 6  # `after` hears of so many, or fewer where there is nothing to attack


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One reason for doubt: `name` as the field has it, and what was `found`, with its number and its meaning."""

    name: FlagName
    found: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found}"


def raise_flags(
    classifier: Classifier,
    inputs: AttackInputs,
    *,
    images_transfer: Array | None = None,
    held: NDArray[np.bool_] | None = None,
    after: Callable[[int, str], None] = lambda done, what: None,
) -> tuple[Flag, ...]:
    """All signs that attacks overrate this classifier, looked for on a sample: 32 to 64 images are enough.

    `images_transfer` (n, c, h, w) are adversarial images for the same clean ones, made against another network.
    `after` hears (probes done, of PROBES at most; what was looked at). What needs an attack is asked of the images
    that are classified right, and only where the radius is above 0.

    Costs an image at most 161 passes forward and backward and 40 + QUERIES forward; where logits saturate 40 and 4
    more. Expects what `check_arrays` and `check_classifier` let pass.
    `held` (n,) says which images the attacks of the figure in doubt left standing.
    """
    xp = array_namespace(inputs.images)
    calls = [classifier.logits(inputs.images) for _ in range(CALLS)]
    right = on_host(xp.argmax(calls[0], axis=-1) == inputs.labels)
    rows = np.flatnonzero(right)
    where = xp.asarray(rows, device=device_of(inputs.images))
    part = replace(inputs, images=inputs.images[where], labels=inputs.labels[where], index=inputs.index[rows])
    transfer = None if images_transfer is None else images_transfer[where]
    held_part = None if held is None else held[rows]
    probes: dict[str, Callable[[], Iterator[Flag]]] = {"its answers": lambda: _answers(calls)}
    if len(rows):
        probes["its gradients"] = lambda: _gradients(classifier, part)
    if len(rows) and inputs.eps > 0:
        probes |= {
            "saturation": lambda: _saturation(classifier, part, calls[0][where]),
            "more steps": lambda: _steps(classifier, part),
            "queries and transfer": lambda: _beyond_white_box(classifier, part, transfer, held_part),
            "a large radius": lambda: _large_radius(classifier, part),
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
    images_transfer: Array | None = None,
    after: Callable[[int, str], None] = lambda done, what: None,
) -> tuple[str, ...]:
    """Every flag of outcomes as text: the probes on the first 32 images, its rows, and its images."""
    sample = AttackInputs(
        images=inputs.images[:SAMPLE],
        labels=inputs.labels[:SAMPLE],
        threat_model=inputs.threat_model,
        seed=inputs.seed,
        index=inputs.index[:SAMPLE],
    )
    transfer = None if images_transfer is None else images_transfer[:SAMPLE]
    flags = (
        *flags_of_rows(found.rows(attacks)),
        *check_within(found.images_adv, inputs),
        *raise_flags(classifier, sample, images_transfer=transfer, held=found.robust[:SAMPLE], after=after),
    )
    # All outcomes and the sample may show the same: the first of a name, from the whole, is kept.
    return tuple(map(str, {flag.name: flag for flag in reversed(flags)}.values()))


def flags_of_rows(rows: Sequence[Row]) -> tuple[Flag, ...]:
    """A flag for each query attack that still lowers what the white-box attacks before it left; costs nothing.

    `rows` are those of `Outcomes`: each the worst case so far. Source of the threshold: AutoAttack, flags_doc.md.
    """
    found: list[Flag] = []
    for number, (before, row) in enumerate(pairwise(rows), 1):
        n = row.robust_acc.n
        fooled = round((before.robust_acc.value - row.robust_acc.value) * n)
        white_box = any(earlier.source == "direct" for earlier in rows[:number])
        if white_box and row.source == "query" and _too_many(fooled, n, LOWERS):
            found.append(
                Flag(
                    name="query attack beats white-box",
                    found=f"{row.attack}, which sees no gradient, fools {fooled} of {n} images that the white-box "
                    "attacks could not: the gradients mislead them, and the figure is too high",
                )
            )
    return tuple(found)


def check_within(images_adv: Array, inputs: AttackInputs) -> tuple[Flag, ...]:
    """Flags for adversarial images (n, c, h, w) that are further from `inputs.images` than eps, or outside [0, 1].

    Float32 rounding is allowed for, pixel by pixel. NaN is outside of both.
    """
    x, images = (np.asarray(on_host(each), np.float64) for each in (images_adv, inputs.images))
    rounding = float(np.finfo(np.float32).eps) * (1 if inputs.norm == "Linf" else math.sqrt(math.prod(x.shape[1:])))
    distances = length(x - images, inputs.norm).ravel()
    far, out = ~(distances <= inputs.eps + rounding), ((x < 0) | (x > 1) | np.isnan(x)).any(axis=(1, 2, 3))
    found: list[Flag] = []
    if far.any():
        found.append(
            Flag(
                name="outside the ball",
                found=f"{far.sum()} of {len(far)} adversarial images are further than eps {inputs.eps:g} from their "
                f"clean image, by up to {distances.max():g} in {inputs.norm}: the attack is not of this threat model",
            )
        )
    if out.any():
        found.append(
            Flag(
                name="outside the range",
                found=f"{out.sum()} of {len(far)} adversarial images leave [0, 1], reaching {x.min():g} to "
                f"{x.max():g}: they are no images",
            )
        )
    return tuple(found)


def _answers(calls: Sequence[Array]) -> Iterator[Flag]:
    """The same images asked several times, and what kind of numbers come back."""
    logits = np.stack([on_host(each) for each in calls])
    spread, size = float(np.ptp(logits, axis=0).max()), float(np.ptp(logits[0]))
    if spread > DIFFERENCE * size:
        yield Flag(
            name="randomised output",
            found=f"{CALLS} calls on the same images give logits up to {spread:.2g} apart, of a range of {size:.2g}: "
            "attacks that see each random draw once are too weak, average over draws (EOT)",
        )
    if are_probabilities(calls[0]):
        yield Flag(
            name="softmax output",
            found=f"all outputs are at least 0 and sum to 1 on each of {logits.shape[1]} images: they are "
            "probabilities, and losses made for logits have hardly a gradient on them",
        )


def _gradients(classifier: Classifier, inputs: AttackInputs) -> Iterator[Flag]:
    """The gradient of the margin, which no saturation can flatten. One image is enough, as in AutoAttack."""
    _, found = classifier.gradient(inputs.images, lambda z: margin(z, inputs.labels)[1])
    zero = (on_host(found) == 0).all(axis=(1, 2, 3))
    if zero.any():
        yield Flag(
            name="zero gradients",
            found=f"{zero.sum()} of {len(zero)} images have a gradient of exactly zero: white-box attacks cannot move "
            "them, only queries and transfer can",
        )


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

    plain = _look(classifier, attack(loss=cross_entropy), inputs.labels).fooled
    cooled = _look(classifier, attack(loss=divided), inputs.labels).fooled
    if _beyond_chance(cooled & ~plain, plain & ~cooled):
        yield Flag(
            name="saturated logits",
            found=f"the softmax rounds to 1 on {saturated:.0%} of the images, and PGD on cross-entropy fools "
            f"{plain.sum()} of {len(plain)} images but {cooled.sum()} once logits are divided by {temperature:.3g}: "
            "cross-entropy has no gradient left, attack the margin or DLR",
        )


def _steps(classifier: Classifier, inputs: AttackInputs) -> Iterator[Flag]:
    """PGD's last iterate after more and more steps, and the random noise it starts from.

    Restarts need no such probe: every attack keeps what any of its restarts fooled.
    """
    clean = _look(classifier, inputs.images, inputs.labels)
    start = random_start(
        inputs.images, eps=inputs.eps, norm=inputs.norm, seeds=inputs.seeds(np.arange(len(inputs.index)), "noise")
    )
    seen = [_look(classifier, start, inputs.labels)]
    for step, x in enumerate(_ascent(classifier, inputs, start, eps=inputs.eps, steps=STEPS[-1]), 1):
        if step in STEPS:
            seen.append(_look(classifier, x, inputs.labels))
    noise, last = seen[0], seen[-1]
    weaker = [
        f"PGD fools {many.fooled.sum()} of {len(many.fooled)} images after {b} steps, and {few.fooled.sum()} after {a}"
        for (a, few), (b, many) in combinations(zip(STEPS, seen, strict=True), 2)
        if _beyond_chance(few.fooled & ~many.fooled, many.fooled & ~few.fooled)
    ]
    fell = last.loss < noise.loss
    if _beyond_chance(fell, last.loss > noise.loss):
        weaker.append(f"PGD's own loss falls in {STEPS[-1]} steps on {fell.sum()} of {len(fell)} images")
    if weaker:
        yield Flag(
            name="more steps, weaker attack",
            found=f"{weaker[0]}: the gradients do not point where the model errs",
        )
    by_noise, by_pgd = (float((each.loss - clean.loss).mean()) for each in (noise, last))
    if max(by_noise, 0.0) >= NOISE * by_pgd and not last.fooled.all():
        yield Flag(
            name="noise as strong as PGD",
            found=f"random noise of the same radius raises the loss by {by_noise:.3g} on average and {STEPS[-1]} "
            f"steps of PGD by {by_pgd:.3g}: the gradients hold little that random guesses do not",
        )


def _beyond_white_box(
    classifier: Classifier, inputs: AttackInputs, images_transfer: Array | None, held: NDArray[np.bool_] | None
) -> Iterator[Flag]:
    """What short APGD fools of what was `held`; what queries and images from elsewhere fool of what APGD left."""
    targets = min(WHITE_BOX_TARGETS, classifier.logits(inputs.images[:1]).shape[-1] - 1)
    climb = partial(apgd, steps=WHITE_BOX_STEPS)
    attacks = (
        Attack(name="APGD-CE", source="direct", run=partial(climb, loss=cross_entropy)),
        Attack(name="APGD-T", source="direct", run=partial(climb, loss=margin_targeted, targets=targets)),
        Attack(name=f"Square, {QUERIES} queries", source="query", run=partial(square, queries=QUERIES)),
    )
    found = assess_chunk(classifier, attacks, inputs)
    yield from check_within(found.images_adv, inputs)
    yield from flags_of_rows(found.rows(attacks))
    fooled = 0 if held is None else int((held & ~found.resisted[1]).sum())
    if _too_many(fooled, len(inputs.index), TRANSFERS):
        yield Flag(
            name="a stronger attack goes further",
            found=f"{WHITE_BOX_STEPS} steps of APGD fool {fooled} of the first {len(inputs.index)} images that the "
            "attacks asked for left standing: ask for a stronger one, such as autoattack",
        )
    if images_transfer is None:
        return
    outside = check_within(images_transfer, inputs)
    if outside:
        yield from outside
        return
    missed = _look(classifier, images_transfer, inputs.labels).fooled & found.resisted[1]
    if _too_many(missed.sum(), len(missed), TRANSFERS):
        yield Flag(
            name="transfer beats white-box",
            found=f"images made against another network fool {missed.sum()} of {len(missed)} images that the "
            "white-box attacks could not: the gradients mislead them",
        )


def _large_radius(classifier: Classifier, inputs: AttackInputs) -> Iterator[Flag]:
    """PGD at the radius at which every image can be made the same grey, so that all but one class can be fooled."""
    eps = GREY if inputs.norm == "Linf" else GREY * math.sqrt(math.prod(inputs.images.shape[1:]))
    held = np.ones(len(inputs.index), np.bool_)
    for x in _ascent(classifier, inputs, inputs.images, eps=eps, steps=20):
        held &= ~_look(classifier, x, inputs.labels).fooled
    if _too_many(held.sum(), len(held), HOLDS):
        by_grey = held & _look(classifier, inputs.images * 0 + GREY, inputs.labels).fooled
        yield Flag(
            name="robust at any radius",
            found=f"{held.sum()} of {len(held)} images resist PGD of radius {eps:.3g} in {inputs.norm}, and plain "
            f"grey, which is within it, fools {by_grey.sum()} of them: the attack is blind to these, the model to the "
            "rest",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """Of n images: the margin of the best wrong class over the right one (n,), and which are `fooled` (n,)."""

    loss: NDArray[Any]  # Any: whatever type logits have
    fooled: NDArray[np.bool_]


def _look(classifier: Classifier, images: Array, labels: Array) -> _Look:
    logits = classifier.logits(images)
    fooled = array_namespace(logits).argmax(logits, axis=-1) != labels
    return _Look(loss=on_host(margin(logits, labels)[0]), fooled=on_host(fooled))


def _ascent(classifier: Classifier, inputs: AttackInputs, start: Array, *, eps: float, steps: int) -> Iterator[Array]:
    """PGD's iterates on the margin, in steps of a quarter of the radius as in the suite."""
    return ascend(
        classifier,
        inputs.images,
        start,
        cotangent=lambda z: margin(z, inputs.labels)[1],
        norm=inputs.norm,
        eps=eps,
        step_size=eps / 4,
        steps=steps,
    )


def _beyond_chance(worse: NDArray[np.bool_], better: NDArray[np.bool_]) -> bool:
    """Whether more images changed for the worse than for the better, by over two standard deviations of a fair coin.

    Source: McNemar's test of paired proportions.
    """
    down, up = int(worse.sum()), int(better.sum())
    return down - up > 2 * math.sqrt(down + up)


def _too_many(fooled: int, n: int, share: float) -> bool:
    """Whether it is more than that share of n images, and more than one, which may be luck."""
    return fooled > max(1.0, share * n)
