"""From what was measured to pass, fail or inconclusive. Pure rules."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.accuracy import Accuracy, wilson_interval
from edgerkd.core.evaluation import Row
from edgerkd.core.manifest import HostResult
from edgerkd.core.profile import Gates
from edgerkd.core.verification import Gate, Limit, Verdict

TWIN_AGREEMENT = 0.999
"""Share of equal argmax below which the twin is not the engine. Source: shared method notes, section 9, row 2; ours."""

_RESAMPLES = 2000


def judge(gate: str, *, required: float, measured: float, low: float, high: float) -> Gate:
    """Pass if the whole interval is at or above what was required, fail if it is below, else inconclusive."""
    verdict: Verdict = "pass" if low >= required else "fail" if high < required else "inconclusive"
    return Gate(gate=gate, required=required, measured=measured, low=low, high=high, verdict=verdict)


def retention_interval(
    engine: NDArray[np.bool_], host: NDArray[np.bool_], *, generator: np.random.Generator
) -> tuple[float, float, float]:
    """Robust accuracy of the engine over the host's on the same images, with a 95 % interval.

    Pairs are resampled together (bootstrap). Where the engine keeps every image the host kept, resampling
    sees no doubt at all; so the interval is never narrower than the score interval of the share kept.
    Where the host resists nothing there is nothing to retain: 0, 0, 1.
    """
    if not host.any():
        return 0.0, 0.0, 1.0
    rows = generator.integers(0, len(host), size=(_RESAMPLES, len(host)))
    ratios = engine[rows].sum(1) / np.maximum(host[rows].sum(1), 1)
    low, high = (float(value) for value in np.percentile(ratios, (2.5, 97.5)))
    least, most = wilson_interval(int((engine & host).sum()), int(host.sum()))
    return float(engine.sum() / host.sum()), min(low, least), max(high, most)


def gates_of(
    gates: Gates,
    host: HostResult,
    *,
    floor: float,
    clean: Accuracy,
    robust: Accuracy,
    retention: tuple[float, float, float],
) -> tuple[Gate, ...]:
    """Every gate, judged. No accuracy may be below `floor`, however little the teacher reaches."""
    clean_required = max(floor, gates.clean_acc_of_teacher * host.teacher_clean_acc.value)
    robust_required = max(floor, gates.robust_acc_of_teacher * host.teacher_robust_acc.value)
    value, low, high = retention
    return (
        judge("clean_acc", required=clean_required, measured=clean.value, low=clean.low, high=clean.high),
        judge("robust_acc", required=robust_required, measured=robust.value, low=robust.low, high=robust.high),
        judge("retention", required=gates.retention, measured=value, low=low, high=high),
    )


def decide(
    *,
    gates: Sequence[Gate],
    budget: Sequence[Limit],
    rows: Sequence[Row],
    twin_agreement: float,
    flags: Sequence[str],
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and a reason for everything that keeps it from being a pass.

    Stored examples cannot show new weaknesses: without a row made against the engine itself there is
    no pass. Nor is there one where a flag says that the attacks may have been blind.
    """
    failed = [f"{g.gate} {g.measured:.1%} is below {g.required:.1%}" for g in gates if g.verdict == "fail"]
    failed += [
        f"{b.limit} {b.measured:g} is above {b.required:g}" for b in budget if b.ok is False and b.measured is not None
    ]
    open_ = [
        f"{g.gate} {g.measured:.1%} lies too near {g.required:.1%} for this many images ({g.low:.1%} to {g.high:.1%})"
        for g in gates
        if g.verdict == "inconclusive"
    ]
    if all(row.source == "replay" for row in rows):
        open_.append("only stored examples were replayed: nothing was made against this engine")
    if twin_agreement < TWIN_AGREEMENT:
        open_.append(f"the gradient twin agrees with the engine on {twin_agreement:.2%} only: its rows prove little")
    open_ += [f"the figure cannot be trusted: {flag}" for flag in flags]
    verdict: Verdict = "fail" if failed else "inconclusive" if open_ else "pass"
    return verdict, tuple(failed + open_)
