"""The profiles that come with edgerkd, and where others are looked for."""

import os
import re
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from edgerkd.core.budget import limits
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.units import parse_size
from edgerkd.files import profiles
from edgerkd.files.profiles import PATH_VARIABLE, load_profile, profile_names

NAMES = profile_names()
LIMITS = {"params", "macs", "latency_ms", "file_bytes", "peak_bytes"}


def own(folder: Path, name: str) -> Path:
    """A profile of the user's own, made from the one for any CPU."""
    folder.mkdir(exist_ok=True)
    source = Path(__file__).parents[2] / "profiles" / "x86-cpu.toml"
    path = folder / f"{name}.toml"
    path.write_text(source.read_text().replace('name = "x86-cpu"', f'name = "{name}"'))
    return path


def test_the_promised_devices_are_there():
    """Catches a profile that is lost, also in the wheel."""
    assert {"jetson-orin", "jetson-orin-nano-8", "jetson-thor", "rtx-4060", "raspberry-pi-5", "x86-cpu"} <= set(NAMES)
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_device_has_a_source(name):
    """Catches a number from memory, and a source left behind for a number that is gone."""
    profile = load_profile(name)
    known = {f"device.{f.name}" for f in fields(profile.device) if getattr(profile.device, f.name) is not None}
    assert set(profile.sources) == known - {"device.soc"} | {"budget", "gates"}
    assert all(source.startswith("ours: ") for key, source in profile.sources.items() if key in ("budget", "gates"))
    assert not any(re.search(r"\[M\]|memory only|TODO", source) for source in profile.sources.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_budget_limits_everything_and_hangs_together(name):
    """Catches a limit left out, and a file limit that float32 weights within `params` cannot keep."""
    budget = load_profile(name).budget
    assert set(limits(budget)) == LIMITS
    assert parse_size(budget.file) > 4 * budget.params
    assert budget.teacher_share == 0.25


def test_a_limit_of_a_gpus_time_needs_a_gpu(tmp_path):
    """Catches a limit that no engine on the device can meet or miss, and one that is refused where there is a GPU."""
    path = own(tmp_path, "bench")
    path.write_text(path.read_text().replace("latency_ms = 5.0", "latency_ms = 5.0\ngpu_latency_p99_ms = 1.5"))
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert re.search(r"budget\.gpu_latency_p99_ms: the device bench has no GPU: name its", str(caught.value))
    assert len(str(caught.value).strip().splitlines()) <= 2, "the file, and the line about it"
    path.write_text(path.read_text().replace("[device]", '[device]\ncompute_capability = "8.7"'))
    assert limits(load_profile(path).budget)["gpu_latency_p99_ms"] == 1.5


@pytest.mark.parametrize("name", [name for name in NAMES if "orin" in name])
def test_orin_peaks_follow_from_sms_and_clock(name):
    """Catches a typing mistake in one of four numbers that hang together (reference: deployment.md, section 9)."""
    device = load_profile(name).device
    assert device.int8_tops == pytest.approx(device.sms * device.gpu_clock_ghz * 4.096, rel=0.01)
    assert device.fp16_tflops == pytest.approx(device.int8_tops / 2, rel=0.01)
    assert device.fp32_tflops == pytest.approx(device.int8_tops / 16, rel=0.01)


def test_a_profile_is_found_by_path_without_a_name(tmp_path):
    """Catches a path taken for a name, and a name taken for a path."""
    path = own(tmp_path, "bench")
    assert load_profile(path).name == "bench"
    assert load_profile(str(path)).name == "bench"
    with pytest.raises(UnknownNameError):
        load_profile("bench")


def test_a_file_in_the_working_folder_needs_its_suffix(tmp_path, monkeypatch):
    """Catches `--profile mine.toml` looked up as a name."""
    own(tmp_path, "bench")
    monkeypatch.chdir(tmp_path)
    assert load_profile("bench.toml").name == "bench"


def test_more_folders_come_from_the_environment(tmp_path, monkeypatch):
    """Catches a variable that is not read, or only its first folder."""
    own(tmp_path / "a", "first")
    own(tmp_path / "b", "second")
    monkeypatch.setenv(PATH_VARIABLE, os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert {"first", "second", *NAMES} == set(profile_names())
    assert load_profile("second").name == "second"


def test_nothing_shadows_a_profile_silently(tmp_path, monkeypatch):
    """Catches a lookup where the last, or the first, file of a name wins."""
    clash = own(tmp_path, "x86-cpu")
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match=re.escape(str(clash))):
        load_profile("x86-cpu")


def test_one_folder_named_twice_is_no_clash(tmp_path, monkeypatch):
    """Catches a file that clashes with itself."""
    own(tmp_path, "bench")
    monkeypatch.setenv(PATH_VARIABLE, os.pathsep.join([str(tmp_path)] * 2))
    assert load_profile("bench").name == "bench"


def test_a_folder_that_is_not_there_is_named(tmp_path, monkeypatch):
    """Catches a mistyped EDGERKD_PROFILE_PATH that is passed over."""
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "typo"))
    with pytest.raises(ConfigError, match=f"{PATH_VARIABLE}.*typo"):
        profile_names()


def test_an_installed_wheel_uses_its_own_copies(tmp_path, monkeypatch):
    """Catches a lookup that only works in the repository."""
    package = tmp_path / "edgerkd"
    shutil.copytree(Path(__file__).parents[2] / "profiles", package / "_profiles")
    own(package / "_profiles", "only-there")
    monkeypatch.setattr(profiles, "_PACKAGE", package)
    assert profile_names() == sorted([*NAMES, "only-there"])
