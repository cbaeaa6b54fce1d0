"""Clocks, temperatures and what slows a machine down, read from its system files. Nothing here can fail."""

import re
from pathlib import Path

from edgerkd.core.conditions import Conditions
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.system import system_folders, system_number, system_text
from edgerkd.verify.nvml import GpuState, read_gpu

_ROOT = Path("/")
_SLOWS = re.compile(r"cpufreq|Processor|devfreq|gpu|cpu", re.IGNORECASE)
_FANS = re.compile(r"fan", re.IGNORECASE)
_PI_BITS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}


def read_conditions(*, gpu: bool, root: Path = _ROOT, power_mode: str | None = None) -> Conditions:
    """The machine whose system files lie below `root`, now; a `gpu`'s own state too where the engine runs on one."""
    state = read_gpu() if gpu and root == _ROOT else GpuState()
    clocks = {**_cpu_clock(root), **_gpu_clock(root), **({} if state.clock_hz is None else {"gpu": state.clock_hz})}
    celsius = {**_celsius(root), **({} if state.celsius is None else {"gpu": state.celsius})}
    return Conditions(
        power_mode=power_mode,
        governors=_governors(root),
        clocks_hz=clocks,
        celsius=celsius,
        held_back=(*_cooling(root), *_raspberry(root), *state.held_back),
        slowdowns=_slowdowns(root),
    )


def _cpu_clock(root: Path) -> dict[str, int]:
    """The fastest core's: others may rest. Source: kernel.org, admin-guide/pm/cpufreq, scaling_cur_freq, in kHz."""
    cores = system_folders(root / "sys/devices/system/cpu", "cpu[0-9]*")
    clocks = [system_number(core / "cpufreq/scaling_cur_freq") for core in cores]
    known = [clock * 1000 for clock in clocks if clock is not None and clock > 0]
    return {"cpu": max(known)} if known else {}


def _governors(root: Path) -> tuple[str, ...]:
    """Each that some core has. Source: kernel.org, admin-guide/pm/cpufreq, scaling_governor."""
    cores = system_folders(root / "sys/devices/system/cpu", "cpu[0-9]*")
    found = {_name(system_text(core / "cpufreq/scaling_governor")) for core in cores}
    return tuple(sorted(found - {""}))


def jetson_gpu_hz(root: Path, file: str) -> int | None:
    """A clock of a Jetson's GPU, such as `cur_freq`, from devfreq. Source of the names: jetson-stats, core/gpu.py."""
    for folder in system_folders(root / "sys/class/devfreq", "*"):
        if re.search(r"\.(gpu|gv11b|gp10b|ga10b|gb10b)$", folder.name):
            clock = system_number(folder / file)
            return clock if clock is not None and clock > 0 else None
    return None


def _gpu_clock(root: Path) -> dict[str, int]:
    clock = jetson_gpu_hz(root, "cur_freq")
    return {} if clock is None else {"gpu": clock}


def _celsius(root: Path) -> dict[str, float]:
    """By zone. Source: kernel.org, ABI/testing/sysfs-class-thermal: `type`, and `temp` in millidegrees."""
    found: dict[str, float] = {}
    for zone in system_folders(root / "sys/class/thermal", "thermal_zone[0-9]*"):
        name, millidegrees = _name(system_text(zone / "type")), system_number(zone / "temp")
        if name and millidegrees is not None and -100_000 <= millidegrees <= 300_000:
            found[name if name not in found else f"{name} ({zone.name})"[:LONGEST_NAME]] = millidegrees / 1000
    return found


def _cooling(root: Path) -> tuple[str, ...]:
    """Devices that cool by slowing down, and do so now; fans do not slow anything.

    Source: kernel.org, ABI/testing/sysfs-class-thermal: `cur_state` 0 is no cooling, `type` names what cools.
    """
    found: list[str] = []
    for device in system_folders(root / "sys/class/thermal", "cooling_device[0-9]*"):
        name, state = _name(system_text(device / "type")), system_number(device / "cur_state")
        if state is not None and state > 0 and _SLOWS.search(name) and not _FANS.search(name):
            found.append(name)
    return tuple(dict.fromkeys(found))


def _raspberry(root: Path) -> tuple[str, ...]:
    """What a Raspberry Pi says is so now. Source: raspberrypi.com, computers/os, get_throttled, bits 0 to 3."""
    text = system_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled").removeprefix("0x")
    bits = int(text, 16) if re.fullmatch(r"[0-9a-fA-F]{1,8}", text) else 0
    return tuple(name for bit, name in _PI_BITS.items() if bits >> bit & 1)


def _slowdowns(root: Path) -> dict[str, int]:
    """Counters: Intel's of thermal events, a Jetson's of over-current events.

    Sources: kernel.org, admin-guide/thermal/intel_thermal_throttle; NVIDIA, Jetson Linux Developer Guide,
    "Jetson Orin Series: OC event counters", soctherm_oc's oc*_event_cnt.
    """
    found: dict[str, int] = {}
    cores = system_folders(root / "sys/devices/system/cpu", "cpu[0-9]*")
    for name in ("core_throttle_count", "package_throttle_count"):
        counts = [system_number(core / "thermal_throttle" / name) for core in cores]
        if known := [count for count in counts if count is not None and count >= 0]:
            found[name.removesuffix("_count")] = sum(known)
    for monitor in system_folders(root / "sys/class/hwmon", "hwmon[0-9]*"):
        if system_text(monitor / "name") == "soctherm_oc":
            for file in system_folders(monitor, "oc*_event_cnt"):
                count = system_number(file)
                if count is not None and count >= 0:
                    found[file.name.removesuffix("_event_cnt")] = count
    return found


def _name(text: str) -> str:
    return printable(text, LONGEST_NAME)
