"""What an inference costs in energy, where the machine has a meter for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgerkd.core.conditions import Energy
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.system import system_folders, system_number, system_text
from edgerkd.verify.nvml import gpu_millijoules

_ROOT = Path("/")
_SECONDS = 1.0  # of inferences that are metered; ours: NVML's counter moves every 0.1 s
_TOTALS = ("VDD_IN", "POM_5V_IN")
"""Rails that carry all of a Jetson module. Source: jetson-stats, core/power.py, and NVIDIA, Jetson Linux Developer
Guide, "Software-Based Power Consumption Modeling"."""

Meter = Callable[[], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A meter of energy: `joules` so far, which starts again from 0 after `wraps_at`, where it does."""

    source: str
    joules: Meter
    wraps_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """A meter of power: `watts` now."""

    source: str
    watts: Meter


def find_meter(*, gpu: bool, root: Path = _ROOT) -> Counter | Power | None:
    """The best meter for an engine on the GPU or the CPU of the machine whose system files lie below `root`."""
    jetson = _ina3221(root)
    if jetson is not None:
        return jetson
    if not gpu:
        return _rapl(root)
    if root == _ROOT and gpu_millijoules() is not None:
        return Counter(source="NVML, the whole GPU", joules=_nvml_joules)
    return None


def _nvml_joules() -> float | None:
    found = gpu_millijoules()
    return None if found is None else found / 1000


def _rapl(root: Path) -> Counter | None:
    """The processors' packages together. Source: kernel.org, power/powercap: energy_uj, max_energy_range_uj in uJ.

    Where only root may read the counter, which is so since CVE-2020-8694, there is none.
    """
    zones = [
        zone
        for zone in system_folders(root / "sys/class/powercap", "intel-rapl:[0-9]*")
        if system_text(zone / "name").startswith("package") and system_number(zone / "energy_uj") is not None
    ]
    if not zones:
        return None

    def joules() -> float | None:
        values = [system_number(zone / "energy_uj") for zone in zones]
        known = [value for value in values if value is not None]
        return sum(known) / 1e6 if len(known) == len(zones) else None

    range_uj = system_number(zones[0] / "max_energy_range_uj")
    wraps = range_uj / 1e6 if range_uj and len(zones) == 1 else None
    return Counter(source="RAPL, the whole processor", joules=joules, wraps_at=wraps)


def _ina3221(root: Path) -> Power | None:
    """A Jetson's sensors: the rail that carries the whole module, else all rails of the first sensor together.

    Source: kernel.org, hwmon/ina3221: in[123]_label, in[123]_input in mV, curr[123]_input in mA; where the driver's
    folder is, NVIDIA, Jetson Linux Developer Guide, "Software-Based Power Consumption Modeling".
    """
    for sensor in system_folders(root / "sys/bus/i2c/drivers/ina3221", "*/hwmon/hwmon[0-9]*"):
        rails = {system_text(sensor / f"in{number}_label"): number for number in (1, 2, 3)}
        total = next((name for name in _TOTALS if name in rails), None)
        chosen = [rails[total]] if total else [number for name, number in rails.items() if name not in ("", "NC")]
        if chosen and _watts(sensor, chosen) is not None:
            what = total or "+".join(name for name in rails if name not in ("", "NC"))
            return Power(source=printable(f"INA3221, {what}", LONGEST_NAME), watts=partial(_watts, sensor, chosen))
    return None


def _watts(sensor: Path, numbers: list[int]) -> float | None:
    total = 0.0
    for number in numbers:
        millivolts, milliamperes = (system_number(sensor / f"{kind}{number}_input") for kind in ("in", "curr"))
        if millivolts is None or milliamperes is None or millivolts < 0 or milliamperes < 0:
            return None
        total += millivolts * milliamperes / 1e6
    return total


def measure_energy(
    meter: Counter | Power | None,
    infer: Callable[[], object],
    *,
    seconds: float = _SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Energy | None:
    """Millijoules an inference, over `seconds` of them one after the other; None without a meter that answers.

    What a meter sees is everything on its rail, idle power included: an upper bound for the inference itself.
    """
    if meter is None:
        return None
    readings: list[float | None] = []
    read = meter.joules if isinstance(meter, Counter) else meter.watts
    first, started, runs = read(), clock(), 0
    while runs == 0 or clock() - started < seconds:
        infer()
        runs += 1
        if isinstance(meter, Power) and runs % 16 == 0:
            readings.append(read())
    took, last = clock() - started, read()
    joules = _joules(meter, first, last, [*readings, first, last], took)
    if joules is None or joules <= 0 or took <= 0:
        return None
    return Energy(source=meter.source, millijoules=joules * 1e3 / runs, runs=runs, seconds=took)


def _joules(
    meter: Counter | Power, first: float | None, last: float | None, readings: list[float | None], took: float
) -> float | None:
    if first is None or last is None:
        return None
    if isinstance(meter, Power):
        known = [reading for reading in readings if reading is not None]
        return sum(known) / len(known) * took
    if last >= first:
        return last - first
    return None if meter.wraps_at is None else last + meter.wraps_at - first
