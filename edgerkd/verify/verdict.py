"""From what was measured to pass, fail or inconclusive. Pure rules."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.accuracy import Accuracy, wilson_interval
from edgerkd.core.evaluation import Row
from edgerkd.core.flag import Flag
from edgerkd.core.requirement import Requirement
from edgerkd.core.verification import TWIN_AGREEMENT, Gate, Judgement, Limit, Parity

_RESAMPLES = 2000


def judge(gate: str, *, required: float, measured: float, low: float, high: float) -> Gate:
    """Pass if the whole interval is at or above what was required, fail if it is below, else inconclusive."""
    verdict: Judgement = "pass" if low >= required else "fail" if high < required else "inconclusive"
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
    requirement: Requirement, *, clean: Accuracy, robust: Accuracy, retention: tuple[float, float, float] | None
) -> tuple[Gate, ...]:
    """Every gate that is asked, judged."""
    found: list[Gate] = []
    for name, required, seen in (
        ("clean_acc", requirement.min_clean_acc, clean),
        ("robust_acc", requirement.min_robust_acc, robust),
    ):
        if required is not None:
            found.append(judge(name, required=required, measured=seen.value, low=seen.low, high=seen.high))
    if requirement.min_retention is not None and retention is not None:
        value, low, high = retention
        found.append(judge("retention", required=requirement.min_retention, measured=value, low=low, high=high))
    return tuple(found)


def decide(
    *,
    parity: Parity,
    gates: Sequence[Gate],
    budget: Sequence[Limit],
    rows: Sequence[Row],
    twin_agreement: float,
    flags: Sequence[Flag],
) -> Judgement:
    """The verdict. An engine that is not the model the host measured fails, whatever else was found.

    Stored examples cannot show new weaknesses: without a row made against the engine itself there is
    no pass. Nor is there one where a flag says that the attacks may have been blind. Why it is no pass,
    report/words.py reads from the same facts.
    """
    if not parity.ok or any(g.verdict == "fail" for g in gates) or any(b.ok is False for b in budget):
        return "fail"
    blind = all(row.source == "replay" for row in rows) or twin_agreement < TWIN_AGREEMENT or bool(flags)
    return "inconclusive" if blind or any(g.verdict == "inconclusive" for g in gates) else "pass"
