"""`edgerkd verify`: attack the deployed engine and decide."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import assess_in_chunks
from edgerkd.attacks.flags import PROBES, SAMPLE, all_flags
from edgerkd.attacks.replay import replayed
from edgerkd.attacks.sanity import check_arrays, check_classifier
from edgerkd.attacks.suite import WEAK, attacks_named
from edgerkd.attacks.words import flag_words, title_of
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.core.budget import limits
from edgerkd.core.by_class import by_class, chance_of, floor_above
from edgerkd.core.evaluation import Row
from edgerkd.core.profile import Profile
from edgerkd.core.progress import Progress
from edgerkd.core.verification import Engine, Latency, Limit, VerifyReport
from edgerkd.verify.build import build_engine, choose_runtime, load_engines
from edgerkd.verify.classifier import EngineClassifier
from edgerkd.verify.decide import decide, gates_of, retention_interval
from edgerkd.verify.latency import measure_latency
from edgerkd.verify.parity import parity_of

BATCH = 64


def verify(
    bundle_path: Path,
    *,
    engines: Path,
    runtime_name: str | None,
    attack: str,
    seed: int,
    progress: Progress,
) -> VerifyReport:
    """Build the engine if need be, attack it on the bundle's images, and decide.

    `attack` is a name that attacks/suite.py knows; the stored examples are replayed first in any case.

    An engine that is not the network the host measured fails. Raises ArtefactError for a damaged bundle,
    MissingDependencyError where no runtime works, EngineError where the engine fails.
    """
    bundle = read_bundle(bundle_path)
    manifest, replay = bundle.manifest, bundle.replay()
    runtime, why_not = choose_runtime(runtime_name, manifest.profile.runtimes)
    built = build_engine(bundle, runtime.exporter, engines)
    named, notices = attacks_named(attack, classes=manifest.architecture.classes)
    attacks = (replayed(replay.images_adv), *named)

    with ExitStack() as stack:
        engine, twin, built = load_engines(bundle, runtime, built, engines, stack)
        classifier = EngineClassifier(engine, twin)
        n, total = len(replay), len(replay) * (2 + len(attacks))
        with progress.stage(f"verify on {engine.runtime}", total) as advance:
            both = np.concatenate([replay.images, replay.images_adv])
            host = np.concatenate([replay.logits, replay.logits_adv])
            logits = np.concatenate([classifier.logits(both[i : i + BATCH]) for i in range(0, 2 * n, BATCH)])
            zeros = np.zeros((BATCH, manifest.architecture.classes), np.float32)
            twin_logits = np.concatenate(
                [twin(part, zeros[: len(part)])[0] for part in (both[i : i + BATCH] for i in range(0, 2 * n, BATCH))]
            )
            parity = parity_of(logits, host, precision=manifest.precision)
            twin_agreement = float((twin_logits.argmax(1) == logits.argmax(1)).mean())
            advance(2 * n, "parity and replay")

            inputs = AttackInputs(
                images=replay.images,
                labels=replay.labels,
                threat_model=manifest.threat_model,
                seed=seed,
                index=np.arange(n),
            )
            check_arrays(inputs.images, inputs.labels, classes=manifest.architecture.classes)
            check_classifier(classifier, inputs.images[:SAMPLE], classes=manifest.architecture.classes)
            found = assess_in_chunks(
                classifier, attacks, inputs, chunk=BATCH, after=lambda done, name: advance(2 * n + done, name)
            )
        with progress.stage("looking for masked gradients", PROBES) as advance:
            flags = all_flags(classifier, attacks, inputs, found, images_transfer=replay.images_adv, after=advance)
        latency = measure_latency(engine, replay.images[:1])
        facts = Engine(
            runtime=engine.runtime,
            version=engine.version,
            device=engine.device,
            precision=manifest.precision,
            sha256=built.record.student_sha256,
        )

    if attack in WEAK:
        flags = (*notices, *flags)
    rows = found.rows(attacks)
    retention = retention_interval(found.robust, replay.host_robust, generator=np.random.default_rng(seed))
    classes = by_class(manifest.classes, replay.labels.tolist(), found.clean, found.robust)
    gates = gates_of(
        manifest.profile.gates,
        manifest.host,
        floor=floor_above(chance_of(classes)),
        clean=found.clean_acc,
        robust=found.robust_acc,
        retention=retention,
    )
    budget = _budget(bundle, built.student, latency, on_target=on_target(manifest.profile, facts))
    verdict, reasons = decide(
        gates=gates, budget=budget, rows=rows, twin_agreement=twin_agreement, flags=tuple(map(flag_words, flags))
    )
    if not parity.ok:
        verdict = "fail"
        reasons = (
            f"parity: the engine's logits differ from the host's by up to {parity.max_abs_dlogit:.3g} "
            f"(limit {parity.limit:.3g}), agreement {parity.agreement:.2%}",
            *reasons,
        )
    return VerifyReport(
        verdict=verdict,
        reasons=reasons,
        notes=(*why_not, *built.record.notes, *map(flag_words, notices), *_scope(bundle, facts, rows)),
        bundle=manifest.name,
        manifest_sha256=bundle.sha256,
        threat_model=manifest.threat_model,
        engine=facts,
        parity=parity,
        twin_agreement=twin_agreement,
        clean_acc=found.clean_acc,
        robust_acc=found.robust_acc,
        by_class=classes,
        rows=rows,
        flags=flags,
        retention=retention[0],
        gates=gates,
        latency_ms=latency,
        budget=budget,
        seed=seed,
    )


def _budget(bundle: Bundle, engine_file: Path, latency: Latency, *, on_target: bool) -> tuple[Limit, ...]:
    """Each limit of the profile; the latency only counts where the profile's own runtime runs."""
    cost = bundle.manifest.cost
    measured = {
        "params": float(cost.params),
        "macs": float(cost.macs),
        "peak_bytes": float(cost.peak_bytes),
        "file_bytes": float(engine_file.stat().st_size),
        "latency_ms": latency.p50 if on_target else None,
    }
    found: list[Limit] = []
    for name, required in limits(bundle.manifest.profile.budget).items():
        value = measured[name]
        found.append(
            Limit(limit=name, required=required, measured=value, ok=None if value is None else value <= required)
        )
    return tuple(found)


def on_target(profile: Profile, engine: Engine) -> bool:
    """Whether this is the profile's own runtime on a device like its own, as far as can be told.

    A GPU is known by its compute capability, which other devices share: the report names the device.
    """
    capability = profile.device.compute_capability
    alike = f"compute capability {capability}" if capability is not None else profile.device.soc.split(",")[0]
    return engine.runtime == profile.runtimes[0] and alike.replace("-", "_") in engine.device.replace("-", "_")


def _scope(bundle: Bundle, engine: Engine, rows: Sequence[Row]) -> tuple[str, ...]:
    """What the verdict is not about."""
    profile, host = bundle.manifest.profile, bundle.manifest.host
    made = ", ".join(row.attack for row in rows if row.source != "replay")
    notes: list[str] = []
    if made != host.attack:
        notes.append(
            f"the teacher and the host's student were attacked by {_titles(host.attack)}, this engine by "
            f"{_titles(made)}: "
            "where the latter is stronger, the gates are harder to pass than they say"
        )
    if not on_target(profile, engine):
        notes.append(_elsewhere(profile, engine))
    return tuple(notes)


def _titles(attacks: str) -> str:
    """Attacks' ids between commas, as they are shown."""
    return ", ".join(title_of(attack) for attack in attacks.split(", "))


def _elsewhere(profile: Profile, engine: Engine) -> str:
    return (
        f"this verdict is about {engine.runtime} on {engine.device}; {profile.title} runs {profile.runtimes[0]}: "
        "run `edgerkd verify` there, latency is judged there too"
    )
