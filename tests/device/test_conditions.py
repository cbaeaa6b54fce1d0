"""Clocks, temperatures, slowdowns and energy, from trees like those of real machines.

Layouts: kernel.org, ABI/testing/sysfs-class-thermal, admin-guide/pm/cpufreq, power/powercap, hwmon/ina3221 and
admin-guide/thermal/intel_thermal_throttle; NVIDIA, Jetson Linux Developer Guide; raspberrypi.com, computers/os.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgerkd.core.conditions import Conditions, Timing
from edgerkd.core.verification import Latency, Target
from edgerkd.files.system import system_number, system_text
from edgerkd.verify.conditions import read_conditions
from edgerkd.verify.energy import Counter, Power, find_meter, measure_energy
from edgerkd.verify.limits import on_device

CPU = "sys/devices/system/cpu"
ZONE = "sys/class/thermal/thermal_zone"
COOLER = "sys/class/thermal/cooling_device"
INA = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
RAPL = "sys/class/powercap/intel-rapl:"
SERVER = {
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "1200000\n",
    f"{CPU}/cpu1/cpufreq/scaling_cur_freq": "3400000\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "3\n",
    f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "4\n",
    f"{CPU}/cpufreq/policy0/scaling_cur_freq": "9900000\n",
    f"{ZONE}0/type": "x86_pkg_temp\n",
    f"{ZONE}0/temp": "61000\n",
    f"{COOLER}0/type": "Processor\n",
    f"{COOLER}0/cur_state": "0\n",
    f"{COOLER}1/type": "pwm-fan\n",
    f"{COOLER}1/cur_state": "4\n",
}
JETSON = {
    "sys/class/devfreq/17000000.gpu/cur_freq": "1300500000\n",
    "sys/class/devfreq/13e00000.host1x/cur_freq": "1\n",
    f"{ZONE}0/type": "gpu-thermal\n",
    f"{ZONE}0/temp": "-256000\n",
    f"{ZONE}1/type": "cpu-thermal\n",
    f"{ZONE}1/temp": "48656\n",
    f"{COOLER}0/type": "cpufreq-cpu0\n",
    f"{COOLER}0/cur_state": "2\n",
    "sys/class/hwmon/hwmon1/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon1/oc1_event_cnt": "7\n",
    "sys/class/hwmon/hwmon2/name": "other\n",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": "9\n",
}
PI = {"sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n"}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            SERVER,
            Conditions(
                governors=("performance", "powersave"),
                clocks_hz={"cpu": 3_400_000_000},
                celsius={"x86_pkg_temp": 61.0},
                slowdowns={"core_throttle": 7},
            ),
        ),
        (
            JETSON,
            Conditions(
                clocks_hz={"gpu": 1_300_500_000},
                celsius={"cpu-thermal": 48.656},
                held_back=("cpufreq-cpu0",),
                slowdowns={"oc1": 7},
            ),
        ),
        (PI, Conditions(held_back=("under-voltage", "throttled"))),
        ({}, Conditions()),
    ],
    ids=["server", "jetson", "raspberry pi", "nothing"],
)
def test_a_machine_is_read_as_its_files_say(tmp_path, files, expected):
    """Catches kHz taken for Hz, a resting core's clock, a fan taken for a slowdown, and a zone that is switched off."""
    assert read_conditions(gpu=False, root=tree(tmp_path, files)) == expected


@pytest.mark.parametrize("content", ["", "abc", "-", "9" * 400, "\0\0", "1 2", "٣", "0x10\n"])
def test_odd_files_are_passed_over(tmp_path, content):
    """Catches a crash, or a number made of what is none, where a driver writes nonsense."""
    files = {
        **SERVER,
        **JETSON,
        **PI,
        f"{INA}/in1_label": "VDD_IN",
        f"{INA}/in1_input": "1",
        f"{RAPL}0/name": "package-0",
    }
    root = tree(tmp_path, dict.fromkeys(files, content))
    found = read_conditions(gpu=False, root=root)
    assert (found.clocks_hz, found.celsius, found.slowdowns) == ({}, {}, {})
    assert find_meter(gpu=False, root=root) is None


def test_what_is_no_plain_file_is_passed_over(tmp_path):
    """Catches a verify that waits for ever at a named pipe, and one that reads a file of gigabytes."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "long").write_text("7" * 10_000)
    assert [system_number(tmp_path / name) for name in ("pipe", "folder", "long", "missing")] == [None] * 4
    assert len(system_text(tmp_path / "long")) == 4096


CALM = Timing(
    warmup=20, settled=True, before=Conditions(clocks_hz={"cpu": 1000}), after=Conditions(clocks_hz={"cpu": 1000})
)


@pytest.mark.parametrize(
    ("before", "after", "steady"),
    [
        ({}, {}, True),
        ({"clocks_hz": {"cpu": 1000}}, {"clocks_hz": {"cpu": 1049}}, True),
        ({"clocks_hz": {"cpu": 1000}}, {"clocks_hz": {"cpu": 1051}}, False),
        ({"clocks_hz": {"cpu": 1000}}, {"clocks_hz": {"cpu": 900}}, False),
        ({"clocks_hz": {"gpu": 1000}}, {"clocks_hz": {}}, True),
        ({"held_back": ("x",)}, {}, False),
        ({}, {"held_back": ("x",)}, False),
        ({"slowdowns": {"oc1": 7}}, {"slowdowns": {"oc1": 7}}, True),
        ({"slowdowns": {"oc1": 7}}, {"slowdowns": {"oc1": 8}}, False),
        ({}, {"slowdowns": {"oc1": 8}}, True),
        ({"power_mode": "MAXN"}, {"power_mode": "MAXN"}, True),
        ({"power_mode": "MAXN"}, {"power_mode": "15W"}, False),
        ({"power_mode": "MAXN"}, {}, True),
        ({}, {"power_mode": "15W"}, True),
    ],
)
def test_a_latency_counts_only_where_the_machine_was_steady(before, after, steady):
    """Catches a clock that falls unseen, one direction ignored, a counter's total taken for an event, and another power
    mode that nobody says.
    """
    timing = replace(CALM, before=Conditions(**before), after=Conditions(**after))
    assert timing.steady is steady
    assert bool(timing.trouble) is not steady
    changed = (timing.before.power_mode, timing.after.power_mode) == ("MAXN", "15W")
    assert ("the power mode changed from MAXN to 15W" in timing.trouble) is changed


def test_a_busy_machine_is_steady_though_its_warm_up_did_not_settle():
    """Catches a verdict that is inconclusive on every machine with other programs."""
    assert replace(CALM, settled=False).steady


@pytest.mark.parametrize(
    ("own", "reached", "told", "verified"),
    [
        ("MAXN", True, ("MAXN", "MAXN"), True),
        ("MAXN", True, (None, None), True),
        (None, True, ("15W", "15W"), True),
        ("MAXN", False, ("MAXN", "MAXN"), False),
        ("MAXN", True, ("15W", "15W"), False),
        ("MAXN", True, ("MAXN", "15W"), False),
        ("MAXN", True, ("15W", "MAXN"), False),
    ],
)
def test_a_devices_limits_are_those_of_its_power_mode(own, reached, told, verified):
    """Catches a Jetson that meets, or fails, the limits of MAXN in a mode that has half its clock."""
    target = Target(profile="jetson", title="Jetson", backend="trt", reached=reached, power_mode=own)
    before, after = (Conditions(power_mode=mode) for mode in told)
    timing = replace(CALM, before=before, after=after)
    latency = Latency(p50=1.0, p95=2.0, p99=3.0, batch=1, runs=9)
    assert target.verified(timing) is verified
    found = on_device(latency, timing, target, None)
    assert found["latency_ms"] == (1.0 if verified else None)


class Clock:
    """Seconds that pass by tenths, one at each inference."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def infer(self) -> None:
        self.now += 0.1


def test_energy_by_a_counter_is_what_it_gained_over_the_inferences():
    """Catches watts taken for joules, and a counter that began again taken for a negative energy."""
    clock = Clock()
    plain = measure_energy(Counter(source="c", joules=lambda: 5 + 2 * clock.now), clock.infer, clock=clock)
    assert plain is not None
    assert plain.millijoules == pytest.approx(200.0)
    assert plain.seconds == pytest.approx(0.1 * plain.runs)
    clock = Clock()
    wraps = Counter(source="c", joules=lambda: (99 + 2 * clock.now) % 100, wraps_at=100.0)
    found = measure_energy(wraps, clock.infer, clock=clock)
    assert found is not None
    assert found.millijoules == pytest.approx(200.0)
    clock = Clock()
    assert measure_energy(replace(wraps, wraps_at=None), clock.infer, clock=clock) is None
    assert measure_energy(None, clock.infer, clock=clock) is None
    assert measure_energy(Counter(source="c", joules=lambda: None), clock.infer, clock=clock) is None


def test_energy_by_power_is_power_times_time():
    """Catches a power that is not multiplied by the time one inference takes."""
    clock = Clock()
    found = measure_energy(Power(source="p", watts=lambda: 3.0), clock.infer, clock=clock)
    assert found is not None
    assert found.millijoules == pytest.approx(300.0)


def ina(*rails: tuple[str, int, int]) -> dict[str, str]:
    files: dict[str, str] = {}
    for number, (label, millivolts, milliamperes) in enumerate(rails, start=1):
        files |= {f"{INA}/in{number}_label": label, f"{INA}/in{number}_input": str(millivolts)}
        files[f"{INA}/curr{number}_input"] = str(milliamperes)
    return files


@pytest.mark.parametrize(
    ("files", "source", "watts"),
    [
        (ina(("VDD_IN", 19_000, 500), ("VDD_CPU_GPU_CV", 19_000, 100)), "INA3221, VDD_IN", 9.5),
        (ina(("VDD_GPU_SOC", 5000, 400), ("VDD_CPU_CV", 5000, 200)), "INA3221, VDD_GPU_SOC+VDD_CPU_CV", 3.0),
    ],
)
def test_a_jetsons_rails(tmp_path, files, source, watts):
    """Catches a rail counted twice, in the module's total and by itself, and millivolts taken for volts."""
    meter = find_meter(gpu=True, root=tree(tmp_path, files))
    assert isinstance(meter, Power)
    assert (meter.source, meter.watts()) == (source, pytest.approx(watts))


def test_packages_are_added_and_their_parts_are_not(tmp_path):
    """Catches the cores of a package counted twice, and a platform's counter that holds both."""
    files = {
        f"{RAPL}0/name": "package-0",
        f"{RAPL}0/energy_uj": "2000000",
        f"{RAPL}1/name": "package-1",
        f"{RAPL}1/energy_uj": "1000000",
        f"{RAPL}0:0/name": "core",
        f"{RAPL}0:0/energy_uj": "900000",
        f"{RAPL}2/name": "psys",
        f"{RAPL}2/energy_uj": "9000000",
    }
    meter = find_meter(gpu=False, root=tree(tmp_path, files))
    assert isinstance(meter, Counter)
    assert meter.joules() == pytest.approx(3.0)
    assert find_meter(gpu=True, root=tmp_path) is None, "a processor's meter says nothing of a GPU"
