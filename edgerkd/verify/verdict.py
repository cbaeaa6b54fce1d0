"""From what was measured to pass, fail or inconclusive. Pure rules."""

from collections.abc import Sequence

from edgerkd.core.evaluation import MADE_HERE, Row
from edgerkd.core.flag import Flag
from edgerkd.core.gradient_check import GradientCheck
from edgerkd.core.judged import Judged
from edgerkd.core.requirement import Requirement
from edgerkd.core.sequential import bounds
from edgerkd.core.verification import TWIN_AGREEMENT, Gate, Judgement, Limit, Parity


def judge(gate: str, *, required: float, measured: float, low: float, high: float) -> Gate:
    """Pass if the whole interval is at or above what was required, fail if it is below, else inconclusive."""
    verdict: Judgement = "pass" if low >= required else "fail" if high < required else "inconclusive"
    return Gate(gate=gate, required=required, measured=measured, low=low, high=high, verdict=verdict)


def gates_of(requirement: Requirement, judged: Judged) -> tuple[Gate, ...]:
    """Every gate that is asked and was measured, judged. From the counts alone: a report's own can be judged again."""
    found = [
        (name, required, tally)
        for name, required in requirement.gates.items()
        if (tally := judged.tally(name)) is not None
    ]
    gates: list[Gate] = []
    for name, required, tally in found:
        low, high = bounds(tally, gates=len(found))
        gates.append(judge(name, required=required, measured=tally.value, low=low, high=high))
    return tuple(gates)


def settled(gates: Sequence[Gate]) -> bool:
    """Whether more images cannot be needed: one gate is surely missed, or all are surely met."""
    verdicts = {gate.verdict for gate in gates}
    return "fail" in verdicts or verdicts == {"pass"}


def decide(
    *,
    parity: Parity,
    gates: Sequence[Gate],
    budget: Sequence[Limit],
    rows: Sequence[Row],
    twin_agreement: float,
    gradients: GradientCheck,
    flags: Sequence[Flag],
) -> Judgement:
    """The verdict. An engine that is not the model the host measured fails, whatever else was found.

    Stored examples cannot show new weaknesses: without a row made against the engine itself there is no pass. Nor is
    there one where the twin's gradients are not the engine's, or a flag says that the attacks may have been blind. Why
    it is no pass, report/words.py reads from the same facts.
    """
    if not parity.ok or any(g.verdict == "fail" for g in gates) or any(b.ok is False for b in budget):
        return "fail"
    blind = all(row.source not in MADE_HERE for row in rows) or twin_agreement < TWIN_AGREEMENT
    blind = blind or not gradients.ok or bool(flags)
    return "inconclusive" if blind or any(g.verdict == "inconclusive" for g in gates) else "pass"
