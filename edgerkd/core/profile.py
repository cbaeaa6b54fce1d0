"""A device as edgerkd sees it: its facts, the budget a student must keep, the gates it must pass."""

from dataclasses import dataclass, field
from typing import Annotated

from edgerkd.core.errors import ConfigError
from edgerkd.core.ranges import Count, Length, Name, Positive, Readable, Share
from edgerkd.core.record import Record
from edgerkd.core.units import parse_size

GPU_LATENCIES = ("gpu_latency_ms", "gpu_latency_p95_ms", "gpu_latency_p99_ms")
"""Limits that only a device with a GPU can keep."""

Size = Annotated[Name, Readable(parse_size)]
"""Such as `4 MiB`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Record):
    """What the device is. None means: not known; nothing is guessed.

    `fp32_tflops`, `fp16_tflops` and `int8_tops` are dense peaks; `memory_gbps` is bandwidth in
    10^9 bytes a second; `launch_us` the time one layer costs however small it is.
    """

    soc: Name
    power_mode: Name | None = None
    compute_capability: Name | None = None
    sms: Count | None = None
    gpu_clock_ghz: Positive | None = None
    fp32_tflops: Positive | None = None
    fp16_tflops: Positive | None = None
    int8_tops: Positive | None = None
    memory: Size | None = None
    memory_gbps: Positive | None = None
    launch_us: Positive | None = None

    @property
    def has_gpu(self) -> bool:
        """Whether any fact is of a GPU."""
        return any(fact is not None for fact in (self.compute_capability, self.sms, self.gpu_clock_ghz))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Record):
    """Limits a student must keep; None means no limit.

    Latencies are end to end, for one image: the median, and what 95 and 99 of 100 stay below; those that begin with
    `gpu_` are the GPU's own, from inputs in its memory to outputs in its memory. `energy_mj` is millijoules an
    inference, with all that runs beside it on the same meter.
    `teacher_share` limits the student's MACs and parameters to that share of the teacher's: a
    student as large as its teacher is no student.
    """

    params: Count | None = None
    macs: Count | None = None
    latency_ms: Positive | None = None
    latency_p95_ms: Positive | None = None
    latency_p99_ms: Positive | None = None
    gpu_latency_ms: Positive | None = None
    gpu_latency_p95_ms: Positive | None = None
    gpu_latency_p99_ms: Positive | None = None
    energy_mj: Positive | None = None
    file: Size | None = None
    peak_memory: Size | None = None
    teacher_share: Positive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates(Record):
    """What `verify` asks of an engine, each a fraction 0 to 1.

    `clean_acc_of_teacher` and `robust_acc_of_teacher` are shares of the teacher's own accuracy on
    the same images; `retention` is the engine's robust accuracy over the host's, same images.
    """

    clean_acc_of_teacher: Share
    robust_acc_of_teacher: Share
    retention: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Record):
    """One device in one power mode. `backends` are what it runs engines by, the best first.

    `sources` names where each number of `device` comes from. Raises ConfigError for a limit of a GPU's time where the
    device has none.
    """

    SCHEMA = 1

    name: Name
    title: Name
    backends: Annotated[tuple[Name, ...], Length(1)]
    device: Device
    budget: Budget
    gates: Gates
    sources: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        asked = [f"budget.{name}" for name in GPU_LATENCIES if getattr(self.budget, name) is not None]
        if asked and not self.device.has_gpu:
            raise ConfigError(
                f"{', '.join(asked)}: the device {self.name} has no GPU: name its device.compute_capability, or limit "
                "latency_ms, which is end to end"
            )
