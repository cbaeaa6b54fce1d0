"""Each limit of a budget against what was measured, or what the bundle says of itself."""

from edgerkd.attacks.flag_kinds import UNSTEADY
from edgerkd.core.budget import limits
from edgerkd.core.conditions import Timing
from edgerkd.core.flag import Flag
from edgerkd.core.profile import Budget
from edgerkd.core.verification import Latency, Limit, Target
from edgerkd.verify.session import Session

ON_DEVICE = ("latency_ms", "latency_p95_ms", "latency_p99_ms", "energy_mj")
"""Limits that only count where the profile's own backend runs on a device like its own."""
_OF_TIME = ON_DEVICE[:3]


def judge_limits(
    budget: Budget, session: Session, latency: Latency, timing: Timing, target: Target | None
) -> tuple[Limit, ...]:
    """Each limit. A latency is not judged elsewhere than on the device, nor while the machine was not steady."""
    cost, energy = session.bundle.manifest.model.cost, timing.energy
    elsewhere = target is not None and not target.reached
    measured: dict[str, float | None] = {
        "params": float(cost.params),
        "macs": float(cost.macs),
        "peak_bytes": float(cost.peak_bytes),
        "file_bytes": float(session.engine_bytes),
        "latency_ms": latency.p50,
        "latency_p95_ms": latency.p95,
        "latency_p99_ms": latency.p99,
        "energy_mj": None if energy is None else energy.millijoules,
    }
    found: list[Limit] = []
    for name, required in limits(budget).items():
        value = None if elsewhere and name in ON_DEVICE else measured[name]
        steady = timing.steady or name not in _OF_TIME
        ok = value <= required if value is not None and steady else None
        found.append(Limit(limit=name, required=required, measured=value, ok=ok))
    return tuple(found)


def unsteady(judged: tuple[Limit, ...], timing: Timing) -> tuple[Flag, ...]:
    """A doubt where a latency has a limit, could be measured, and the machine was not steady meanwhile."""
    asked = any(limit.limit in _OF_TIME and limit.measured is not None for limit in judged)
    if timing.steady or not asked:
        return ()
    return (UNSTEADY.raised(reason=timing.trouble),)
