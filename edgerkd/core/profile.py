"""A device as edgerkd sees it: its facts, the budget a student must keep, the gates it must pass."""

from dataclasses import dataclass, field
from math import inf

from edgerkd.core.errors import ConfigError
from edgerkd.core.record import Record
from edgerkd.core.units import parse_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Record):
    """What the device is. None means: not known; nothing is guessed.

    `fp32_tflops`, `fp16_tflops` and `int8_tops` are dense peaks; `memory_gbps` is bandwidth in
    10^9 bytes a second; `launch_us` the time one layer costs however small it is.
    """

    soc: str
    power_mode: str | None = None
    compute_capability: str | None = None
    sms: int | None = None
    gpu_clock_ghz: float | None = None
    fp32_tflops: float | None = None
    fp16_tflops: float | None = None
    int8_tops: float | None = None
    memory: str | None = None
    memory_gbps: float | None = None
    launch_us: float | None = None

    def __post_init__(self) -> None:
        keys = ("sms", "gpu_clock_ghz", "fp32_tflops", "fp16_tflops", "int8_tops", "memory_gbps", "launch_us")
        _above_zero(self, keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Record):
    """Limits a student must keep; None means no limit.

    `teacher_share` limits the student's MACs and parameters to that share of the teacher's: a
    student as large as its teacher is no student.
    """

    params: int | None = None
    macs: int | None = None
    latency_ms: float | None = None
    file: str | None = None
    peak_memory: str | None = None
    teacher_share: float | None = None

    def __post_init__(self) -> None:
        _above_zero(self, ("params", "macs", "latency_ms", "teacher_share"))
        for key in ("file", "peak_memory"):
            if (text := getattr(self, key)) is not None:
                parse_size(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates(Record):
    """What `verify` asks of an engine, each a fraction 0 to 1.

    `clean_acc_of_teacher` and `robust_acc_of_teacher` are shares of the teacher's own accuracy on
    the same images; `retention` is the engine's robust accuracy over the host's, same images.
    """

    clean_acc_of_teacher: float
    robust_acc_of_teacher: float
    retention: float

    def __post_init__(self) -> None:
        for key in ("clean_acc_of_teacher", "robust_acc_of_teacher", "retention"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} = {getattr(self, key)} is not a share from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Record):
    """One device in one power mode. `sources` names where each number of `device` comes from."""

    schema: int
    name: str
    title: str
    runtimes: tuple[str, ...]
    device: Device
    budget: Budget
    gates: Gates
    sources: dict[str, str] = field(default_factory=dict[str, str])


def _above_zero(record: Device | Budget, keys: tuple[str, ...]) -> None:
    for key in keys:
        value = getattr(record, key)
        if value is not None and not 0 < value < inf:
            raise ConfigError(f"{key} = {value} is not a number above 0")
