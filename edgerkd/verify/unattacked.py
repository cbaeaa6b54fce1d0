"""`verify --no-attack`: the plain question and the latency alone."""

from collections.abc import Sequence

import numpy as np

from edgerkd.attacks.assess import Outcomes
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.by_class import ByClass, ClassAccuracy
from edgerkd.core.gradient_check import judge_gradients
from edgerkd.core.judged import Judged
from edgerkd.core.plain import PlainAnswer
from edgerkd.verify.evidence import Evidence, compare
from edgerkd.verify.session import Session

NOBODY = accuracy_from_correct(())
"""What is robust of no image."""


def unattacked(session: Session, plain: PlainAnswer, *, probe_seed: int) -> Evidence:
    """Evidence without rows: what is robust is of no image, and no gradient was looked at.

    Raises EngineError for an engine that fails.
    """
    parity, agreement = compare(session, np.random.default_rng(probe_seed))
    latency, timing = session.live.timing(session.samples.floats[:1])
    nothing = np.zeros((1, 0), np.bool_)
    return Evidence(
        parity=parity,
        twin_agreement=agreement,
        gradients=judge_gradients(steepest=(), random=(), flat=(), precision=session.precision),
        judged=Judged(of=len(session.samples), images=(), fates=(), host=None),
        labels=session.samples.labels[:0],
        outcomes=Outcomes(clean=nothing[0], resisted=nothing, images_adv=session.samples.floats[:0]),
        clean_acc=plain.engine_acc,
        robust_acc=NOBODY,
        by_class=_classes(plain, session.bundle.manifest.model.classes),
        rows=(),
        flags=(),
        latency=latency,
        timing=timing,
    )


def _classes(plain: PlainAnswer, names: Sequence[str]) -> ByClass:
    classes = tuple(
        ClassAccuracy(name=each.name, clean_acc=each.engine_acc, robust_acc=NOBODY) for each in plain.classes
    )
    worst = min(classes, key=lambda c: c.clean_acc.value, default=None)
    there = {each.name for each in classes}
    return ByClass(
        classes=classes,
        missing=tuple(name for name in names if name not in there),
        worst=worst.name if worst else None,
    )
