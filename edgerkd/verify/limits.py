"""Each limit of a budget against what was measured, or what the bundle says of itself."""

from edgerkd.attacks.flag_kinds import UNMEASURED, UNSTEADY
from edgerkd.core.budget import limits
from edgerkd.core.conditions import Timing
from edgerkd.core.engine_memory import EngineMemory
from edgerkd.core.flag import Flag
from edgerkd.core.profile import GPU_LATENCIES, Budget
from edgerkd.core.verification import Latency, Limit, Target
from edgerkd.verify.session import Session

_END_TO_END = ("latency_ms", "latency_p95_ms", "latency_p99_ms")
ON_DEVICE = (*_END_TO_END, *GPU_LATENCIES, "energy_mj")
"""Limits that only count where the profile's own backend runs on a device like its own, in its power mode."""
_OF_TIME = (*_END_TO_END, *GPU_LATENCIES)


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
        **on_device(latency, timing, target, session.memory),
    }
    return tuple(
        judge_limit(name, required, measured[name], timing=timing) for name, required in limits(budget).items()
    )


def on_device(
    latency: Latency, timing: Timing, target: Target | None, memory: EngineMemory | None
) -> dict[str, float | None]:
    """What a device's own limits are held against, by their names; None elsewhere than on the profile's device.

    Peak memory is among them where it was measured there. Elsewhere what was counted stands for it, which is no
    machine's.
    """
    peak = peak_measured(memory, target)
    found: dict[str, float | None] = {} if peak is None else {"peak_bytes": float(peak)}
    if target is not None and not target.verified(timing):
        return {**found, **dict.fromkeys(ON_DEVICE)}
    gpu = timing.device_ms
    energy = None if timing.energy is None else timing.energy.millijoules
    own = (None, None, None) if gpu is None else (gpu.p50, gpu.p95, gpu.p99)
    return {**found, **dict(zip(ON_DEVICE, (latency.p50, latency.p95, latency.p99, *own, energy), strict=True))}


def peak_measured(memory: EngineMemory | None, target: Target | None) -> int | None:
    """What the network takes at its peak by the profile's own backend on its device; None where that is not known.

    Another runtime takes other memory, a power mode changes nothing of it.
    """
    if memory is None or (target is not None and not target.reached):
        return None
    return memory.measured


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


def unmeasured(judged: tuple[Limit, ...], backend: str, timing: Timing, target: Target | None) -> tuple[Flag, ...]:
    """A doubt where this is the device, and neither the backend nor the machine tells what has a limit."""
    names = [limit.limit for limit in judged if limit.measured is None]
    if not names or (target is not None and not target.verified(timing)):
        return ()
    return (UNMEASURED.raised(limits=", ".join(names), backend=backend),)
