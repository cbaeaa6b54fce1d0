"""What attacks and measurements on a live engine show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import Outcomes, assess, joined
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.flags import PROBES, SAMPLE, all_flags
from edgerkd.attacks.gradient_check import check_gradients
from edgerkd.attacks.replay import replayed
from edgerkd.attacks.sanity import check_arrays, check_classifier
from edgerkd.core.conditions import Timing
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag
from edgerkd.core.gradient_check import GradientCheck
from edgerkd.core.progress import Progress
from edgerkd.core.verification import Latency, Parity
from edgerkd.verify.latency import measure_timing
from edgerkd.verify.parity import parity_of
from edgerkd.verify.session import Session

BATCH = 64
SMALL = 32  # images, or all where there are fewer, that are shown one to three at a time; ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`outcomes` and `rows` are of all attacks; `twin_agreement` is how often engine and twin give the same answer.

    Only images count on which the engine's margin is above the limit of parity: below it both may be right.
    """

    parity: Parity
    twin_agreement: float
    gradients: GradientCheck
    outcomes: Outcomes
    rows: tuple[Row, ...]
    flags: tuple[Flag, ...]
    latency: Latency
    timing: Timing


def gather(session: Session, named: Sequence[Attack], *, seed: int, probe_seed: int, progress: Progress) -> Evidence:
    """Parity first, then the twin's gradients, the stored examples, the `named` attacks, and the latency.

    `seed` is that of the attacks; `probe_seed` says where gradients and masking are looked for: no bundle foresees it.

    Raises ConfigError for samples that make no sense, EngineError for an engine that fails or answers nonsense.
    """
    samples, images = session.samples, session.samples.images
    attacks = (*_replay(session), *named)
    inputs = AttackInputs(
        images=images,
        labels=samples.labels,
        threat_model=session.threat_model,
        seed=seed,
        index=np.arange(len(samples)),
    )
    generator = np.random.default_rng(probe_seed)
    classifier, classes = session.classifier, len(session.bundle.manifest.model.classes)
    n, stored = len(samples), session.reference_samples
    compared = len(stored) * (1 if stored.images_adv is None else 2)
    with progress.stage(f"verify on {session.live.backend}", compared + n * len(attacks)) as advance:
        parity, agreement = compare(session, generator)
        advance(compared, "parity")
        check_arrays(inputs.images, inputs.labels, classes=classes)
        check_classifier(classifier, inputs.images[:SAMPLE], classes=classes)
        gradients = check_gradients(
            classifier,
            inputs,
            precision=session.precision,
            generator=generator,
            after=lambda done, what: advance(compared, what),
        )
        chunks = assess(
            classifier, attacks, inputs, chunk=BATCH, after=lambda done, name: advance(compared + done, name)
        )
        outcomes = joined(chunks)
    with progress.stage("looking for masked gradients", PROBES) as advance:
        flags = all_flags(
            classifier,
            attacks,
            inputs,
            outcomes,
            generator=generator,
            images_transfer=samples.images_adv,
            after=advance,
        )
    latency, timing = measure_timing(session.live, images[:1])
    return Evidence(
        parity=parity,
        twin_agreement=agreement,
        gradients=gradients,
        outcomes=outcomes,
        rows=outcomes.rows(attacks),
        flags=flags,
        latency=latency,
        timing=timing,
    )


def _replay(session: Session) -> tuple[Attack, ...]:
    """The host's adversarial images, shown again, where the bundle has some."""
    images_adv = session.samples.images_adv
    if images_adv is None:
        return ()
    return (replayed(images_adv),)


def compare(session: Session, generator: np.random.Generator) -> tuple[Parity, float]:
    """The engine against the reference, and how often the twin gives the engine's answer where that is clear.

    Every image is shown in the attacks' batches, and some that are drawn in small ones, as a device is served: an
    engine that is another network for single images is not the one that is attacked.
    """
    samples, reference, limits = session.reference_samples, session.reference, session.variant.parity
    images = samples.images
    shown = images if samples.images_adv is None else np.concatenate([images, samples.images_adv])
    host = reference.logits
    if reference.logits_adv is not None:
        host = np.concatenate([host, reference.logits_adv])
    parts = np.split(shown, range(BATCH, len(shown), BATCH))
    own = np.concatenate([session.classifier.logits(part) for part in parts])
    zeros = np.zeros_like(host)
    twins = [session.twin(part, zeros[: len(part)])[0] for part in parts]
    agreement = parity_of(np.concatenate(twins), own, limits=limits).agreement
    drawn = generator.permutation(len(shown))[:SMALL]
    few = np.split(drawn, np.cumsum(generator.integers(1, 4, size=SMALL)).clip(max=len(drawn)))
    small = [session.classifier.logits(shown[rows]) for rows in few if len(rows)]
    parity = parity_of(np.concatenate([own, *small]), np.concatenate([host, host[drawn]]), limits=limits)
    return replace(parity, n=len(host)), agreement
