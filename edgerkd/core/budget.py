"""Does a network keep a budget?"""

from dataclasses import dataclass

from edgerkd.core.architecture import Cost
from edgerkd.core.profile import Budget
from edgerkd.core.units import parse_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One limit that is not kept."""

    limit: str
    required: float
    measured: float

    def __str__(self) -> str:
        return f"{self.limit}: required at most {self.required:g}, measured {self.measured:g}"


def limits(budget: Budget, teacher: Cost | None = None) -> dict[str, float]:
    """The budget's limits as numbers, by the name of the `Cost` field each one bounds, or of what is only measured."""
    share = budget.teacher_share if teacher is not None else None
    bounds: dict[str, list[float | None]] = {
        "params": [budget.params, share * teacher.params if share and teacher else None],
        "macs": [budget.macs, share * teacher.macs if share and teacher else None],
        "latency_ms": [budget.latency_ms],
        "latency_p95_ms": [budget.latency_p95_ms],
        "latency_p99_ms": [budget.latency_p99_ms],
        "gpu_latency_ms": [budget.gpu_latency_ms],
        "gpu_latency_p95_ms": [budget.gpu_latency_p95_ms],
        "gpu_latency_p99_ms": [budget.gpu_latency_p99_ms],
        "energy_mj": [budget.energy_mj],
        "file_bytes": [parse_size(budget.file) if budget.file else None],
        "peak_bytes": [parse_size(budget.peak_memory) if budget.peak_memory else None],
    }
    given = {name: [b for b in bound if b is not None] for name, bound in bounds.items()}
    return {name: min(bound) for name, bound in given.items() if bound}


def violations(budget: Budget, cost: Cost, teacher: Cost | None = None) -> tuple[Violation, ...]:
    """Every limit that `cost` exceeds; an unknown cost (None) exceeds nothing."""
    found: list[Violation] = []
    for name, required in limits(budget, teacher).items():
        measured = getattr(cost, name, None)
        if measured is not None and measured > required:
            found.append(Violation(limit=name, required=required, measured=measured))
    return tuple(found)
