"""`edgerkd verify`: attack the deployed engine and decide."""

import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgerkd.attacks.flag_kinds import REPEATED
from edgerkd.attacks.suite import WEAK, attacks_named
from edgerkd.bundle.read import Bundle
from edgerkd.core.budget import limits
from edgerkd.core.by_class import ByClass, by_class, chance_of, floor_above
from edgerkd.core.engine import Engine
from edgerkd.core.flag import Flag
from edgerkd.core.manifest import Manifest
from edgerkd.core.profile import Budget, Profile
from edgerkd.core.progress import Progress
from edgerkd.core.requirement import Requirement, check_asked, choose_profile, combined, required_by
from edgerkd.core.trust import Trust
from edgerkd.core.verification import Limit, Target, VerifyReport
from edgerkd.verify.circumstances import circumstances
from edgerkd.verify.evidence import Evidence, gather
from edgerkd.verify.session import Session, open_session
from edgerkd.verify.trust import backed
from edgerkd.verify.verdict import decide, gates_of, retention_interval


def verify(
    bundle: Bundle,
    *,
    engines: Path,
    backend: str | None = None,
    variant: str | None = None,
    profile: str | None = None,
    requirement: Requirement | None = None,
    measure: bool = False,
    attack: str = "pgd",
    seed: int = 0,
    probe_seed: int | None = None,
    trust: Trust | None = None,
    progress: Progress,
) -> VerifyReport:
    """Build the engine if need be, attack it on the bundle's images, and decide.

    `attack` is a name that attacks/suite.py knows; the stored examples are replayed first in any case. What is required
    comes from the bundle's profile, then from its maker, then from the caller's `requirement`: a later one counts. With
    `measure` nothing is required. Where the twin's gradients are checked is drawn anew each time, and recorded; who
    repeats a verification gives that `probe_seed`. What the verifier knows of the bundle is `trust` (verify/trust.py):
    without it a pass is only `pass as claimed`.

    Raises MissingGatesError where nothing is required and `measure` was not asked, ArtefactError for damaged samples,
    MissingDependencyError where no backend works, EngineError where the engine fails.
    """
    manifest = bundle.manifest
    chosen = choose_profile(manifest.profiles, profile)
    named, notices = attacks_named(attack, classes=len(manifest.model.classes))
    if not measure:  # asked before any work is done; the thresholds themselves follow from the samples
        check_asked(required_of(manifest, chosen, requirement, floor=0.0))
    with open_session(bundle, engines=engines, profile=chosen, backend=backend, variant=variant) as session:
        probed = secrets.randbits(53) if probe_seed is None else probe_seed
        evidence = gather(session, named, seed=seed, probe_seed=probed, progress=progress)
        classes = by_class(
            manifest.model.classes,
            session.samples.labels.tolist(),
            evidence.outcomes.clean,
            evidence.outcomes.robust,
        )
        required = required_of(manifest, chosen, requirement, floor=floor_above(chance_of(classes)))
        found = _report(
            session,
            evidence,
            classes,
            profile=chosen,
            requirement=Requirement() if measure else required,
            measure=measure,
            notices=(*notices, *_repeated(session)),
            doubts=notices if attack in WEAK else (),
            seed=seed,
            probe_seed=probed,
        )
    believed = trust or Trust()
    return replace(
        found,
        verdict=backed(found.verdict, believed),
        trust=believed,
        made=circumstances(requirement or Requirement()),
    )


def required_of(manifest: Manifest, profile: Profile | None, asked: Requirement | None, *, floor: float) -> Requirement:
    """The profile's gates, then those of the bundle's maker, then the caller's."""
    own = Requirement() if profile is None else required_by(profile, manifest.reference, floor=floor)
    return combined(own, manifest.requirement, asked)


def _report(
    session: Session,
    evidence: Evidence,
    classes: ByClass,
    *,
    profile: Profile | None,
    requirement: Requirement,
    measure: bool,
    notices: tuple[Flag, ...],
    doubts: tuple[Flag, ...],
    seed: int,
    probe_seed: int,
) -> VerifyReport:
    """The evidence judged, as one record."""
    manifest, outcomes = session.bundle.manifest, evidence.outcomes
    target = target_of(profile, session.facts)
    flags = (*doubts, *evidence.flags)
    held = session.samples.host_robust
    retention = (
        None if held is None else retention_interval(outcomes.robust, held, generator=np.random.default_rng(seed))
    )
    gates = gates_of(requirement, clean=outcomes.clean_acc, robust=outcomes.robust_acc, retention=retention)
    budget = _judged(requirement.budget, session, evidence, target)
    verdict = decide(
        parity=evidence.parity,
        gates=gates,
        budget=budget,
        rows=evidence.rows,
        twin_agreement=evidence.twin_agreement,
        gradients=evidence.gradients,
        flags=flags,
    )
    return VerifyReport(
        verdict="measured" if measure and evidence.parity.ok else verdict,
        bundle=manifest.name,
        manifest_sha256=session.bundle.sha256,
        threat_model=manifest.threat_model,
        requirement=requirement,
        reference=manifest.reference,
        target=target,
        engine=session.facts,
        build=session.log,
        skipped=session.skipped,
        parity=evidence.parity,
        twin_agreement=evidence.twin_agreement,
        gradients=evidence.gradients,
        clean_acc=outcomes.clean_acc,
        robust_acc=outcomes.robust_acc,
        by_class=classes,
        rows=evidence.rows,
        flags=flags,
        notices=notices,
        retention=None if retention is None else retention[0],
        gates=gates,
        latency_ms=evidence.latency,
        budget=budget,
        seed=seed,
        probe_seed=probe_seed,
    )


def _repeated(session: Session) -> tuple[Flag, ...]:
    """A notice where the bundle shows an image more than once, or nearly so."""
    if not session.repeated:
        return ()
    return (REPEATED.raised(repeated=session.repeated, n=len(session.samples)),)


def _judged(budget: Budget, session: Session, evidence: Evidence, target: Target | None) -> tuple[Limit, ...]:
    """Each limit of the budget; the latency only counts where the profile's own backend runs."""
    cost = session.bundle.manifest.model.cost
    elsewhere = target is not None and not target.reached
    measured = {
        "params": float(cost.params),
        "macs": float(cost.macs),
        "peak_bytes": float(cost.peak_bytes),
        "file_bytes": float(session.engine_bytes),
        "latency_ms": None if elsewhere else evidence.latency.p50,
    }
    found: list[Limit] = []
    for name, required in limits(budget).items():
        value = measured[name]
        found.append(
            Limit(limit=name, required=required, measured=value, ok=None if value is None else value <= required)
        )
    return tuple(found)


def target_of(profile: Profile | None, engine: Engine) -> Target | None:
    """The profile's device, and whether this is its own backend on a device like it, as far as can be told.

    A GPU is known by its compute capability, which other devices share: the report names the device.
    """
    if profile is None:
        return None
    device, capability = engine.device, profile.device.compute_capability
    if capability is not None:
        alike = device.capability == capability
    else:
        soc = profile.device.soc.split(",")[0].replace("-", "_")
        alike = soc in (f"{device.name} {device.machine}").replace("-", "_")
    own = profile.backends[0]
    return Target(profile=profile.name, title=profile.title, backend=own, reached=alike and engine.backend == own)
