"""Each limit of a budget against what was measured, or what the bundle says of itself."""

from edgerkd.attacks.flag_kinds import UNSTEADY
from edgerkd.core.budget import limits
from edgerkd.core.conditions import Timing
from edgerkd.core.flag import Flag
from edgerkd.core.profile import Budget
from edgerkd.core.verification import Latency, Limit, Target
from edgerkd.verify.session import Session

ON_DEVICE = ("latency_ms", "latency_p95_ms", "latency_p99_ms", "energy_mj")
"""Limits that only count where the profile's own backend runs on a device like its own, in its power mode."""
_OF_TIME = ON_DEVICE[:3]


def judge_limits(
    budget: Budget, session: Session, latency: Latency, timing: Timing, target: Target | None
) -> tuple[Limit, ...]:
    """Each limit. A latency is not judged elsewhere than on the device, nor while the machine was not steady."""
    cost = session.bundle.manifest.model.cost
    measured: dict[str, float | None] = {
        "params": float(cost.params),
        "macs": float(cost.macs),
        "peak_bytes": float(cost.peak_bytes),
        "file_bytes": float(session.engine_bytes),
        **on_device(latency, timing, target),
    }
    return tuple(
        judge_limit(name, required, measured[name], timing=timing) for name, required in limits(budget).items()
    )


def on_device(latency: Latency, timing: Timing, target: Target | None) -> dict[str, float | None]:
    """What a device's own limits are held against, by their names; None elsewhere than on the profile's device."""
    if target is not None and not target.verified(timing):
        return dict.fromkeys(ON_DEVICE)
    energy = None if timing.energy is None else timing.energy.millijoules
    return dict(zip(ON_DEVICE, (latency.p50, latency.p95, latency.p99, energy), strict=True))


def judge_limit(name: str, required: float, measured: float | None, *, timing: Timing) -> Limit:
    """One limit; a time measured while the machine was not steady is not judged."""
    judged = measured is not None and (timing.steady or name not in _OF_TIME)
    ok = measured <= required if judged and measured is not None else None
    return Limit(limit=name, required=required, measured=measured, ok=ok)


def unsteady(judged: tuple[Limit, ...], timing: Timing) -> tuple[Flag, ...]:
    """A doubt where a latency has a limit, could be measured, and the machine was not steady meanwhile."""
    asked = any(limit.limit in _OF_TIME and limit.measured is not None for limit in judged)
    if timing.steady or not asked:
        return ()
    return (UNSTEADY.raised(reason=timing.trouble),)
