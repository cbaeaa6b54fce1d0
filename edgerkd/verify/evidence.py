"""What attacks and measurements on a live engine show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import Outcomes, assess, joined
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.classifier import Classifier
from edgerkd.attacks.flags import PROBES, SAMPLE, all_flags
from edgerkd.attacks.gradient_check import check_gradients, shown_precision
from edgerkd.attacks.noise import NOISE
from edgerkd.attacks.replay import replayed, transferred
from edgerkd.attacks.sanity import check_arrays, check_classifier
from edgerkd.attacks.trail import Watched, check_trail
from edgerkd.bundle.backend import FloatArray
from edgerkd.bundle.image_rows import ImageRows, in_batches, rows_of
from edgerkd.bundle.samples import StoredSamples
from edgerkd.core.accuracy import Accuracy
from edgerkd.core.by_class import ByClass, by_class
from edgerkd.core.conditions import Timing
from edgerkd.core.errors import EngineError
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag
from edgerkd.core.gradient_check import GradientCheck
from edgerkd.core.judged import RIGHT, WRONG, Judged
from edgerkd.core.precision import Precision
from edgerkd.core.progress import Advance, Progress
from edgerkd.core.requirement import Requirement
from edgerkd.core.sequential import accuracy_anytime
from edgerkd.core.verification import Latency, Parity
from edgerkd.verify.classifier import BATCH, logits_of
from edgerkd.verify.parity import parity_of
from edgerkd.verify.peak import give_back
from edgerkd.verify.session import Session
from edgerkd.verify.terms import Terms
from edgerkd.verify.verdict import gates_of, settled

LOOK = 50  # images that all attacks are made on before it is asked whether they are enough; ours: a tenth of 500
SMALL = 32  # images, or all where there are fewer, that are shown one to three at a time; ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`outcomes`, of the `judged` images with their `labels`, and `rows` are of all attacks.

    `twin_agreement` is how often engine and twin give the same answer. Only images count on which the engine's margin
    is above twice the limit of parity: below it both may be right.
    """

    parity: Parity
    twin_agreement: float
    gradients: GradientCheck
    judged: Judged
    labels: NDArray[np.int64]
    outcomes: Outcomes
    clean_acc: Accuracy
    robust_acc: Accuracy
    by_class: ByClass
    rows: tuple[Row, ...]
    flags: tuple[Flag, ...]
    latency: Latency
    timing: Timing


def gather(session: Session, named: Sequence[Attack], terms: Terms, *, progress: Progress) -> Evidence:
    """Parity first, then the twin's gradients, noise, the stored examples, the `named` attacks, and the latency.

    The images are drawn one after the other, some at a time through all attacks, until the gates are settled, or the
    engine is not the model; where all are to be judged, or nothing is required, until all were.

    Raises ConfigError for samples that make no sense, EngineError for an engine that fails or answers nonsense.
    """
    stored = stored_attacks(session.samples, session.bundle.manifest.origins, session.variant.precision)
    attacks = (NOISE, *stored, *named)
    generator = np.random.default_rng(terms.probe_seed)
    order, classes = generator.permutation(len(session.samples)), len(session.bundle.manifest.model.classes)
    inputs = _drawn(session, order, terms.seed)
    compared = len(session.reference_samples) * (1 if session.reference_samples.images_adv is None else 2)
    work = compared + len(order) * len(attacks)
    with progress.stage(f"verify on {session.live.backend}", work) as advance:
        parity, agreement = compare(session, generator)
        advance(compared, "parity")
        for rows in (slice(first, first + BATCH) for first in range(0, len(order), BATCH)):
            check_arrays(inputs.images[rows], inputs.labels[rows], classes=classes)
        check_classifier(session.classifier, inputs.images[:SAMPLE], classes=classes)
        precision = shown_precision(session.classifier, inputs, session.precision, generator=generator)
        gradients = check_gradients(
            session.classifier,
            inputs,
            precision=precision,
            generator=generator,
            after=lambda done, what: advance(compared, what),
        )
        watched = Watched(session.attacked_classifier, generator=np.random.default_rng((terms.probe_seed, 1)))
        judged, outcomes = _assessed(
            session,
            watched,
            attacks,
            inputs,
            None if terms.full else partial(_decided, terms.requirement, parity),
            after=lambda done, name: advance(compared + done, name),
        )
        advance(work, "decided")
    give_back()
    with progress.stage("looking for masked gradients", PROBES) as advance:
        flags = _flags(session, attacks, inputs, outcomes, watched, precision, generator, after=advance)
    latency, timing = session.live.timing(session.samples.floats[:1])
    labels, names = inputs.labels[: judged.n], session.bundle.manifest.model.classes
    return Evidence(
        parity=parity,
        twin_agreement=agreement,
        gradients=gradients,
        judged=judged,
        labels=labels,
        outcomes=outcomes,
        clean_acc=accuracy_anytime(outcomes.clean.tolist()),
        robust_acc=accuracy_anytime(outcomes.robust.tolist()),
        by_class=by_class(names, labels.tolist(), outcomes.clean, outcomes.robust, accuracy_anytime),
        rows=outcomes.rows(attacks, accuracy_anytime),
        flags=flags,
        latency=latency,
        timing=timing,
    )


def _assessed(
    session: Session,
    classifier: Classifier,
    attacks: Sequence[Attack],
    inputs: AttackInputs,
    decided: Callable[[Judged], bool] | None,
    *,
    after: Advance,
) -> tuple[Judged, Outcomes]:
    """What became of the images, some at a time, until it is `decided`, and otherwise of all."""
    images_adv = np.empty(inputs.images.shape, np.float32)  # which takes no memory until it is filled
    looks: list[Outcomes] = []
    for look in assess(classifier, attacks, inputs, chunk=LOOK, judge=session.classifier, after=after):
        looks.append(_put_in(images_adv, look, sum(len(each.clean) for each in looks)))
        give_back()
        if decided is not None and decided(_judged(session, inputs.index, looks)):
            break
    return _judged(session, inputs.index, looks), _together(looks, images_adv)


def _decided(requirement: Requirement, parity: Parity, judged: Judged) -> bool:
    """Whether no further image changes the verdict: the gates are settled, or the engine is not the model."""
    return not parity.ok or settled(gates_of(requirement, judged))


def _drawn(session: Session, order: NDArray[np.int64], seed: int) -> AttackInputs:
    """The images in the order in which they are judged."""
    return AttackInputs(
        images=session.samples.floats.take(order),
        labels=session.samples.labels[order],
        threat_model=session.threat_model,
        seed=seed,
        index=order,
    )


def _put_in(images_adv: FloatArray, look: Outcomes, first: int) -> Outcomes:
    """The outcomes, whose images are from now on those of `images_adv` (n, c, h, w) from `first` on."""
    part = images_adv[first : first + len(look.clean)]
    part[:] = look.images_adv
    return replace(look, images_adv=part)


def _together(looks: Sequence[Outcomes], images_adv: FloatArray) -> Outcomes:
    """All looks as one, without a second copy of the images, which are the first ones of `images_adv`."""
    found = joined([replace(look, images_adv=images_adv[:0]) for look in looks])
    return replace(found, images_adv=images_adv[: len(found.clean)])


def _flags(
    session: Session,
    attacks: Sequence[Attack],
    inputs: AttackInputs,
    outcomes: Outcomes,
    watched: Watched,
    precision: Precision,
    generator: np.random.Generator,
    *,
    after: Advance,
) -> tuple[Flag, ...]:
    """Signs that the attacks were blind, on the images that were judged and along the attacks' own way."""
    n, images_adv = len(outcomes.clean), session.samples.images_adv

    def between(done: int, what: str) -> None:
        give_back()
        after(done, what)

    seen = _drawn(session, inputs.index[:n], inputs.seed)
    flags = all_flags(
        session.attacked_classifier,
        attacks,
        seen,
        outcomes,
        generator=generator,
        images_transfer=None if images_adv is None else rows_of(images_adv, seen.index),
        after=between,
    )
    if watched.asked is not None:
        flags += check_trail(
            session.classifier,
            inputs,
            watched.asked,
            clean=session.reference.logits,
            precision=precision,
            share=session.variant.parity.logit_share,
            generator=generator,
        )
    return flags


def stored_attacks(samples: StoredSamples, origins: Sequence[str], precision: Precision) -> tuple[Attack, ...]:
    """The host's adversarial images, shown again: those made against the model itself, then those of other networks.

    Where the engine is a rounded variant, those made against the model in float32 are of another network.
    """
    images_adv, transfers = samples.images_adv, samples.transfers
    found: list[Attack] = []
    if images_adv is not None:
        found.append(replayed(images_adv) if precision == "fp32" else transferred(images_adv, "fp32"))
    if transfers is not None:
        found += [transferred(images, origin) for origin, images in zip(origins, transfers, strict=True)]
    return tuple(found)


def _judged(session: Session, order: NDArray[np.int64], looks: Sequence[Outcomes]) -> Judged:
    """What became of the images drawn so far."""
    fates = tuple(fates_of(look) for look in looks)
    images = tuple(order[: sum(map(len, fates))].tolist())
    return Judged(of=len(order), images=images, fates=fates, host=host_text(session.samples, images, fates))


def host_text(samples: StoredSamples, images: Sequence[int], fates: Sequence[str]) -> tuple[str, ...] | None:
    """What the host held of these images, in texts as long as the fates; None where it attacked nothing."""
    if samples.host_robust is None:
        return None
    answers = iter(samples.host_robust[np.array(images, np.int64)].tolist())
    return tuple("".join(RIGHT if next(answers) else WRONG for _ in fate) for fate in fates)


def fates_of(found: Outcomes) -> str:
    """A character an image, as Judged says."""
    first = (~found.resisted).argmax(0)
    return "".join(
        WRONG if not clean else RIGHT if robust else ascii_lowercase[row]
        for clean, robust, row in zip(found.clean, found.robust, first, strict=True)
    )


def compare(session: Session, generator: np.random.Generator) -> tuple[Parity, float]:
    """The engine against the reference, and how often the twin gives the engine's answer where that is clear.

    Every image is shown in the attacks' batches, and some that are drawn in small ones, as a device is served: an
    engine that is another network for single images is not the one that is attacked.
    """
    samples, reference, limits = session.reference_samples, session.reference, session.variant.parity
    images, images_adv = samples.floats, samples.images_adv
    shown = (images,) if images_adv is None else (images, images_adv)
    host = reference.logits
    if reference.logits_adv is not None:
        host = np.concatenate([host, reference.logits_adv])
    own = np.concatenate([logits_of(session.classifier, each) for each in shown])
    zeros = np.zeros_like(host)
    parts = (part for each in shown for part in in_batches(each, BATCH))
    twins = [session.twin(part, zeros[: len(part)])[0] for part in parts]
    if any(each.shape[1:] != host.shape[1:] for each in twins):
        raise EngineError("the gradient twin's logits are of another shape than the engine's")
    agreement = parity_of(np.concatenate(twins), own, limits=limits).agreement
    drawn = generator.permutation(len(host))[:SMALL]
    few = np.split(drawn, np.cumsum(generator.integers(1, 4, size=SMALL)).clip(max=len(drawn)))
    small = [session.classifier.logits(_of(shown, rows)) for rows in few if len(rows)]
    parity = parity_of(np.concatenate([own, *small]), np.concatenate([host, host[drawn]]), limits=limits)
    return replace(parity, n=len(host)), agreement


def _of(shown: Sequence[FloatArray | ImageRows], rows: NDArray[np.int64]) -> FloatArray:
    """Images by their place among all that are shown, one kind after the other."""
    n = len(shown[0])
    found: list[FloatArray] = [shown[row // n][row % n] for row in rows.tolist()]
    return np.stack(found)
