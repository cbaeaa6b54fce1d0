"""Under what conditions a latency was measured, before and after, and what an inference costs in energy."""

from dataclasses import dataclass, field
from typing import Annotated

from edgerkd.core.ranges import Amount, Count, Name, Positive, Within
from edgerkd.core.record import Record

DRIFT = 0.05
"""Share by which a clock may move while a latency is measured. Ours: a governor's steps are 5 to 10 % of a clock."""

Celsius = Annotated[float, Within(-100, 300)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions(Record):
    """One moment of the machine; what could not be read is not there.

    `clocks_hz` by unit: that of the fastest core for `cpu`. `celsius` by thermal zone. `held_back` are what says now
    that the machine is slowed down, `slowdowns` how often each counter has seen that so far.
    """

    power_mode: Name | None = None
    governors: tuple[Name, ...] = ()
    clocks_hz: dict[str, Count] = field(default_factory=dict[str, int])
    celsius: dict[str, Celsius] = field(default_factory=dict[str, float])
    held_back: tuple[Name, ...] = ()
    slowdowns: dict[str, Amount] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy(Record):
    """Millijoules an inference of one image takes, by `source`, which counts what else runs there as well.

    Over `runs` inferences one after the other, in `seconds`.
    """

    source: Name
    millijoules: Positive
    runs: Count
    seconds: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLatency(Record):
    """Milliseconds on the device alone, from inputs in its memory to outputs in its memory."""

    p50: Positive
    p95: Positive
    p99: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing(Record):
    """How the latency was measured: after `warmup` runs, whose last ten took as long as the ten before (`settled`).

    `device_ms` is None where the backend cannot tell, `energy` where the machine does not.
    """

    warmup: Count
    settled: bool
    before: Conditions
    after: Conditions
    device_ms: DeviceLatency | None = None
    energy: Energy | None = None

    @property
    def moved(self) -> dict[str, float]:
        """Clocks that moved by more than DRIFT, each with the share."""
        before, after = self.before.clocks_hz, self.after.clocks_hz
        shares = {name: abs(after[name] / before[name] - 1) for name in before if name in after}
        return {name: share for name, share in shares.items() if share > DRIFT}

    @property
    def held_back(self) -> tuple[str, ...]:
        """What says that the machine was slowed down before, after, or in between."""
        counts = self.before.slowdowns
        counted = [name for name, count in self.after.slowdowns.items() if count > counts.get(name, count)]
        return tuple(dict.fromkeys((*self.before.held_back, *self.after.held_back, *counted)))

    @property
    def trouble(self) -> str:
        """What was not steady, in words; nothing where all was."""
        before, after = self.before.power_mode, self.after.power_mode
        switched = before is not None and after is not None and before != after
        mode = [f"the power mode changed from {before} to {after}"] if switched else []
        moved = [f"the clock of {name} moved by {share:.0%}" for name, share in self.moved.items()]
        back = [f"the machine was slowed down ({', '.join(self.held_back)})"] if self.held_back else []
        return " and ".join([*mode, *moved, *back])

    @property
    def steady(self) -> bool:
        """Whether the latency may be held against a limit.

        A warm-up that did not settle alone is no reason: beside other programs, half of those of slow engines do not.
        """
        return not self.trouble
