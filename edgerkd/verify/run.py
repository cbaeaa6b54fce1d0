"""`edgerkd verify`: attack the deployed engine and decide."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgerkd.attacks.flag_kinds import OVER_REPORTS
from edgerkd.attacks.suite import DEFAULT, attacks_named
from edgerkd.bundle.read import Bundle
from edgerkd.core.flag import Flag
from edgerkd.core.origin import Origins, origins_of
from edgerkd.core.plain import PlainAnswer
from edgerkd.core.progress import Progress
from edgerkd.core.requirement import Requirement, choose_profile
from edgerkd.core.trust import Trust
from edgerkd.core.verification import VerifyReport
from edgerkd.files.profiles import is_file, load_profile
from edgerkd.verify.asking import Asking
from edgerkd.verify.circumstances import circumstances
from edgerkd.verify.evidence import Evidence, gather
from edgerkd.verify.keep import with_kept
from edgerkd.verify.limits import judge_limits, peak_measured, unmeasured, unsteady
from edgerkd.verify.notices import notices_of
from edgerkd.verify.own import Brought
from edgerkd.verify.plain import ask
from edgerkd.verify.session import Session, open_session
from edgerkd.verify.target import target_of
from edgerkd.verify.terms import Terms
from edgerkd.verify.trust import backed
from edgerkd.verify.unattacked import unattacked
from edgerkd.verify.verdict import decide, gates_of


def verify(
    bundle: Bundle,
    *,
    engines: Path,
    backend: str | None = None,
    variant: str | None = None,
    profile: str | None = None,
    requirement: Requirement | None = None,
    measure: bool = False,
    attack: str | None = DEFAULT,
    full: bool = False,
    seed: int | None = None,
    probe_seed: int | None = None,
    brought: Brought | None = None,
    heard: Callable[[PlainAnswer], None] = lambda plain: None,
    trust: Trust | None = None,
    keep: Path | None = None,
    progress: Progress,
) -> VerifyReport:
    """Build the engine if need be, say how accurate it is, attack it, and decide.

    `attack` is a name that attacks/suite.py knows; noise comes first and then the stored examples in any case. Without
    one nothing is attacked or required. What is required comes from the profile, which is the bundle's of that name or
    a TOML file's, from the bundle's maker and from the caller (verify/asking.py says which counts). With `measure`
    nothing is required. Images are judged until it is sure whether that is reached; with `full` all are, by the attacks
    at their full length. What is `brought` counts in place of the bundle's samples and radius. The `seed` of the
    attacks, and the `probe_seed` of the order of the images and of where the twin's gradients are checked, are drawn
    anew where they are not given, and recorded: who repeats a verification gives both. `heard` gets the plain answer
    before any attack begins. What the verifier knows of the bundle beside its own word is `trust` (verify/trust.py), to
    which samples of their own are added: without any of it a pass is only `pass as claimed`. Outcomes and a few images
    are kept in the file `keep`.

    Raises MissingGatesError where nothing is required and `measure` was not asked, ArtefactError for damaged samples,
    MissingDependencyError where no backend works, EngineError where the engine fails.
    """
    manifest, brought = bundle.manifest, brought or Brought()
    own_profile = profile is not None and is_file(profile)
    asking = Asking(
        manifest=manifest,
        profile=load_profile(profile) if profile and own_profile else choose_profile(manifest.profiles, profile),
        own_profile=own_profile,
        own_radius=brought.eps not in (None, manifest.threat_model.eps),
        caller=requirement,
    )
    measure = measure or attack is None
    classes = len(manifest.model.classes)
    named, notices = ((), ()) if attack is None else attacks_named(attack, classes=classes, full=full)
    if not measure:  # asked before any work is done; the thresholds themselves follow from the samples
        asking.check()
    with open_session(
        bundle, engines=engines, profile=asking.profile, backend=backend, variant=variant, brought=brought
    ) as session:
        plain = ask(session)
        heard(plain)
        terms = Terms(
            profile=asking.profile,
            requirement=Requirement() if measure else asking.required(floor=plain.floor),
            measure=measure,
            full=full,
            origins=_origins(session, asking, brought, measure=measure, seed_brought=seed is not None),
            notices=(*notices, *_notices(session)),
            doubts=tuple(notice for notice in notices if notice.id == OVER_REPORTS.id),
            seed=secrets.randbits(53) if seed is None else seed,
            probe_seed=secrets.randbits(53) if probe_seed is None else probe_seed,
        )
        if attack is None:
            report = _report(session, unattacked(session, plain, probe_seed=terms.probe_seed), plain, terms)
        else:
            evidence = gather(session, named, terms, progress=progress)
            report = _report(session, evidence, plain, terms)
            report = with_kept(report, session, evidence, keep, progress=progress)
    return _backed(report, trust, requirement)


def _origins(session: Session, asking: Asking, brought: Brought, *, measure: bool, seed_brought: bool) -> Origins:
    """Whose word each figure is."""
    return origins_of(
        {} if measure else asking.askers(),
        samples_brought=session.judged.source == "verifier",
        eps_brought=brought.eps is not None or brought.made_here,
        profile_brought=asking.own_profile,
        seed_brought=seed_brought,
        peak_measured=peak_measured(session.memory, target_of(asking.profile, session.facts)) is not None,
    )


def _notices(session: Session) -> tuple[Flag, ...]:
    """What to know of images, radius and engine."""
    return notices_of(
        session.judged,
        eps=session.threat_model.eps,
        of_bundle=session.bundle.manifest.threat_model.eps,
        engine=session.facts,
        log=session.log,
    )


def _backed(found: VerifyReport, trust: Trust | None, asked: Requirement | None) -> VerifyReport:
    """The report with what its verdict rests on beside the bundle's word: the `trust`, and images of the verifier's."""
    believed = trust or Trust()
    if found.samples.source == "verifier":
        believed = believed.resting_on("samples")
    verdict = backed(found.verdict, believed)
    return replace(
        found,
        verdict=verdict,
        trust=believed,
        made=circumstances(asked or Requirement(), found.timing.after.power_mode),
    )


def _report(session: Session, evidence: Evidence, plain: PlainAnswer, terms: Terms) -> VerifyReport:
    """The evidence judged, as one record."""
    manifest, retention = session.bundle.manifest, evidence.judged.retention
    target = target_of(terms.profile, session.facts)
    gates = gates_of(terms.requirement, evidence.judged)
    budget = judge_limits(terms.requirement.budget, session, evidence.latency, evidence.timing, target)
    doubts = (*unsteady(budget, evidence.timing), *unmeasured(budget, session.facts.backend, evidence.timing, target))
    flags = (*terms.doubts, *session.doubts, *evidence.flags, *doubts)
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
        verdict="measured" if terms.measure and evidence.parity.ok else verdict,
        bundle=manifest.name,
        manifest_sha256=session.bundle.sha256,
        threat_model=session.threat_model,
        requirement=terms.requirement,
        reference=manifest.reference,
        target=target,
        engine=session.facts,
        build=session.log,
        skipped=session.skipped,
        samples=session.judged,
        plain=plain,
        parity=evidence.parity,
        twin_agreement=evidence.twin_agreement,
        gradients=evidence.gradients,
        clean_acc=evidence.clean_acc,
        robust_acc=evidence.robust_acc,
        judged=evidence.judged,
        by_class=evidence.by_class,
        rows=evidence.rows,
        flags=flags,
        notices=terms.notices,
        retention=None if retention is None else retention.value,
        gates=gates,
        latency_ms=evidence.latency,
        timing=evidence.timing,
        budget=budget,
        origins=terms.origins,
        seed=terms.seed,
        probe_seed=terms.probe_seed,
        engine_memory=session.memory,
    )
