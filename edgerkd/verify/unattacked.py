"""`verify --no-attack`: the plain question and the latency alone."""

from collections.abc import Sequence

import numpy as np

from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.by_class import ByClass, ClassAccuracy
from edgerkd.core.flag import Flag
from edgerkd.core.gradient_check import judge_gradients
from edgerkd.core.judged import Judged
from edgerkd.core.origin import Origins
from edgerkd.core.plain import PlainAnswer
from edgerkd.core.requirement import Requirement
from edgerkd.core.verification import Target, VerifyReport
from edgerkd.verify.evidence import compare
from edgerkd.verify.session import Session

_NOBODY = accuracy_from_correct(())


def unattacked(
    session: Session,
    plain: PlainAnswer,
    *,
    target: Target | None,
    origins: Origins,
    notices: Sequence[Flag],
    seed: int,
    probe_seed: int,
) -> VerifyReport:
    """A report without rows: what is robust is of no image, and no gradient was looked at.

    Raises EngineError for an engine that fails.
    """
    parity, agreement = compare(session, np.random.default_rng(probe_seed))
    latency, timing = session.live.timing(session.samples.images[:1])
    manifest = session.bundle.manifest
    return VerifyReport(
        verdict="measured" if parity.ok else "fail",
        bundle=manifest.name,
        manifest_sha256=session.bundle.sha256,
        threat_model=session.threat_model,
        requirement=Requirement(),
        reference=manifest.reference,
        target=target,
        engine=session.facts,
        build=session.log,
        skipped=session.skipped,
        samples=session.judged,
        plain=plain,
        parity=parity,
        twin_agreement=agreement,
        gradients=judge_gradients(steepest=(), random=(), flat=(), precision=session.precision),
        clean_acc=plain.engine_acc,
        robust_acc=_NOBODY,
        judged=Judged(of=len(session.samples), images=(), fates=(), host=None),
        by_class=_classes(plain, manifest.model.classes),
        rows=(),
        flags=(),
        notices=tuple(notices),
        retention=None,
        gates=(),
        latency_ms=latency,
        timing=timing,
        budget=(),
        origins=origins,
        seed=seed,
        probe_seed=probe_seed,
    )


def _classes(plain: PlainAnswer, names: Sequence[str]) -> ByClass:
    classes = tuple(
        ClassAccuracy(name=each.name, clean_acc=each.engine_acc, robust_acc=_NOBODY) for each in plain.classes
    )
    worst = min(classes, key=lambda c: c.clean_acc.value, default=None)
    there = {each.name for each in classes}
    return ByClass(
        classes=classes,
        missing=tuple(name for name in names if name not in there),
        worst=worst.name if worst else None,
    )
