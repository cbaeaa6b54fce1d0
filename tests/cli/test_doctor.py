"""`edgerkd doctor`: the facts it gathers, the conflicts it knows, and its exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgerkd.bundle import plugins
from edgerkd.core.errors import MissingDependencyError
from edgerkd.verify import doctor
from edgerkd.verify.doctor import Jetson, conflicts, examine
from tests.command import in_process

JETSON_FILES = {
    "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1300500000\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "proc/meminfo": "MemTotal:       64349404 kB\nMemFree:        1 kB\n",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n",
}


class Works:
    """A backend whose checks pass."""

    def check(self) -> None:
        pass

    def check_build(self) -> None:
        pass


class OnlyRuns(Works):
    """A backend that runs engines here, and cannot build them."""

    def check_build(self) -> None:
        raise MissingDependencyError("no compiler: install one")


class OnlyBuilds(Works):
    """A backend that builds engines here for other machines."""

    def check(self) -> None:
        raise MissingDependencyError("no such GPU: buy one")


class Refuses(OnlyBuilds, OnlyRuns):
    """A backend that is not usable here, and says so."""


class Breaks(Works):
    """A backend with a bug."""

    def check(self) -> None:
        raise ZeroDivisionError("oops")


@pytest.fixture
def plugged(monkeypatch):
    """Let the backends be these."""

    def plug(**backends: type) -> None:
        monkeypatch.setattr(plugins, "backend_names", lambda: sorted(backends))
        monkeypatch.setattr(plugins, "load_backend", lambda name: backends[name]())

    return plug


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A PATH on which there is nothing but these commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, output: str, code: int = 0) -> None:
        script = folder / name
        script.write_text(f"#!/bin/sh\necho '{output}'\nexit {code}\n")
        script.chmod(0o755)

    return install


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    ended = in_process(("doctor", *arguments), capsys)
    return ended.code, ended.out, ended.err


@pytest.mark.parametrize("text", ["", "unknown", "-1"])
def test_a_clock_that_is_no_number_is_none(text, tmp_path, commands, plugged):
    """Catches a build or an examination that fails because of a system file of another kernel."""
    plugged(a=Works)
    found = examine(machine(tmp_path, JETSON_FILES | {"sys/class/devfreq/17000000.gpu/max_freq": text}))
    assert found.jetson is not None
    assert found.jetson.gpu_hz is None


def test_a_jetson_is_recognised(tmp_path, commands, plugged):
    """Catches wrong paths, a trailing NUL in the model, kB taken for bytes, and a JetPack of the wrong row."""
    plugged(a=Works)
    commands("nvpmodel", "NV Power Mode: MAXN\n0")
    found = examine(machine(tmp_path, JETSON_FILES))
    assert found.jetson == Jetson(
        model="NVIDIA Jetson AGX Orin Developer Kit",
        l4t="36.4.3",
        jetpack="6.1 or 6.2",
        tensorrt="10.3.0",
        python="3.10",
        power_mode="MAXN",
        gpu_hz=(306_000_000, 1_300_500_000),
    )
    assert found.machine.memory_bytes == 64349404 * 1024
    assert found.machine.cpu == "ARMv8 Processor rev 1 (v8l)"


@pytest.mark.parametrize(
    ("release", "jetpack"),
    [
        ("R32 (release), REVISION: 7.4", "4.6"),
        ("R35 (release), REVISION: 6.0", "5"),
        ("R36 (release), REVISION: 40.1", None),
    ],
)
def test_jetpack_by_the_whole_version_number(release, jetpack, tmp_path, commands, plugged):
    """Catches 36.40 taken for 36.4, and a crash on a version that no row has."""
    plugged(a=Works)
    found = examine(machine(tmp_path, {"etc/nv_tegra_release": f"# {release}, GCID: 1"}))
    assert found.jetson is not None
    assert found.jetson.jetpack == jetpack
    assert found.jetson.power_mode is None


def test_a_bare_machine_is_no_jetson(tmp_path, commands, plugged):
    """Catches a crash where no system file can be read and no command is there."""
    plugged(a=Works)
    found = examine(tmp_path)
    assert (found.jetson, found.gpus, found.machine.memory_bytes) == (None, (), None)
    assert found.machine.cpu


def test_gpus_are_named(tmp_path, commands, plugged):
    """Catches columns in the wrong order."""
    plugged(a=Works)
    commands("nvidia-smi", "NVIDIA GeForce RTX 4060, 580.65.06, 8.9\nNVIDIA H200, 580.65.06, 9.0")
    names = [(gpu.name, gpu.driver, gpu.compute_capability) for gpu in examine(tmp_path).gpus]
    assert names == [("NVIDIA GeForce RTX 4060", "580.65.06", "8.9"), ("NVIDIA H200", "580.65.06", "9.0")]


def test_a_dead_driver_is_a_problem_not_a_gpu(tmp_path, commands, plugged):
    """Catches nvidia-smi's complaint taken for a GPU's name."""
    plugged(a=Works)
    commands("nvidia-smi", "NVIDIA-SMI has failed, because, it seems no driver answers.", code=9)
    found = examine(tmp_path)
    assert found.gpus == ()
    assert any("has failed" in problem for problem in found.problems)


def test_every_backend_is_tried_and_none_stops_the_examination(tmp_path, commands, plugged):
    """Catches a check that is not called, one told for the other, and one bad plug-in that hides the others."""
    plugged(a=Breaks, b=Refuses, c=Works, d=OnlyRuns, e=OnlyBuilds)
    a, b, c, d, e = examine(tmp_path).backends
    assert [each.name for each in (a, b, c, d, e)] == ["a", "b", "c", "d", "e"]
    assert "ZeroDivisionError" in str(a.runs)
    assert a.builds is None
    assert (b.runs, b.builds) == ("no such GPU: buy one", "no compiler: install one")
    assert (c.runs, c.builds) == (None, None)
    assert (d.runs, d.builds) == (None, "no compiler: install one")
    assert (e.runs, e.builds) == ("no such GPU: buy one", None)


def test_what_a_backend_prints_goes_to_stderr(tmp_path, commands, plugged, capsys):
    """Catches lines before the JSON document, as ONNX Runtime printed them on an H200."""

    class Prints(Works):
        def check(self) -> None:
            print("*** EP Error ***")  # noqa: T201  what libraries do

    plugged(prints=Prints)
    examine(tmp_path)
    found = capsys.readouterr()
    assert found.out == ""
    assert "EP Error" in found.err


def test_a_backend_that_cannot_be_loaded_is_a_problem_of_its_own(tmp_path, commands, monkeypatch):
    """Catches an entry point of a broken package that takes the doctor down."""
    monkeypatch.setattr(plugins, "backend_names", lambda: ["gone", "onnx"])
    gone, onnx = examine(tmp_path).backends
    assert "no backend named 'gone'" in str(gone.runs)
    assert gone.builds == gone.runs
    assert onnx.runs is None


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        ({"onnxruntime-gpu": "1.27.0", "tensorrt": "11.4.0.106"}, ["1.27.0", "11.4.0.106", "TensorRT 10"]),
        ({"torch": "2.14.1"}, ["torch", "without torchvision", "edgerkd[host]"]),
        ({"torchvision": "0.29.1"}, ["without torch:", "edgerkd[host]"]),
        ({"torch": "2.14.1", "torchvision": "0.28.0"}, ["not a pair"]),
        ({"torch": "2.14.1+cpu", "torchvision": "0.29.1"}, ["not a pair"]),
    ],
)
def test_a_known_conflict_is_named_with_its_fix(packages, words):
    """Catches a conflict that is not seen, or seen without its versions."""
    (problem,) = conflicts(packages, None, "3.11.7")
    assert all(word in problem for word in words)


@pytest.mark.parametrize(
    "packages",
    [
        {},
        {"onnxruntime-gpu": "1.26.0", "tensorrt": "11.4.0.106"},
        {"onnxruntime-gpu": "1.31.1", "tensorrt": "10.16.1.11"},
        {"onnxruntime": "1.31.1", "tensorrt": "11.4.0.106"},
        {"torch": "2.14.1", "torchvision": "0.29.1"},
        {"torch": "2.5.0a0+872d972e41.nv24.08", "torchvision": "0.20.0a0+afc54f7"},
        {"torch": "3.0.0", "torchvision": "1.0.0"},
    ],
)
def test_what_works_together_is_no_conflict(packages):
    """Catches false alarms, such as 1.9 taken for later than 1.27, or a Jetson's own wheels."""
    assert conflicts(packages, None, "3.11.7") == ()


@pytest.mark.parametrize(
    ("python", "tensorrt", "problems"),
    [("3.10.12", None, 0), ("3.100.0", None, 1), ("3.12.3", None, 1), ("3.12.3", "10.3.0", 0)],
)
def test_a_jetsons_tensorrt_is_for_one_python(python, tensorrt, problems):
    """Catches 3.100 taken for 3.10, and advice where TensorRT is already there."""
    jetson = Jetson(model="", l4t="36.4.3", jetpack="6.2", tensorrt="10.3.0", python="3.10", power_mode=None)
    found = conflicts({"tensorrt": tensorrt}, jetson, python)
    assert len(found) == problems
    assert all("python3.10 -m venv --system-site-packages" in problem for problem in found)


def test_exit_0_where_a_backend_works(monkeypatch, capsys, plugged):
    """Catches a doctor that fails because something else does not work."""
    plugged(a=Works, b=Refuses)
    code, out, err = run(monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "buy one" in out


def test_exit_4_where_none_works(monkeypatch, capsys, plugged):
    """Catches a doctor that is content with nothing or with building, and one that then says nothing on stdout."""
    plugged(b=OnlyBuilds)
    code, out, err = run(monkeypatch, capsys, "--json")
    assert code == 4
    assert "edgerkd[ort]" in err
    (backend,) = json.loads(out)["backends"]
    assert backend == {"name": "b", "runs": "no such GPU: buy one", "builds": None}


def test_a_missing_host_package_is_said(monkeypatch, capsys, plugged):
    """Catches a doctor that calls the host's half whole without looking at each package."""
    plugged(a=Works)
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "scikit-learn" else real(name))
    assert json.loads(run(monkeypatch, capsys, "--json")[1])["host"] is False
    assert "edgerkd[host]" in run(monkeypatch, capsys)[1]


def test_torch_is_never_imported():
    """Catches a version that is asked for by importing torch; the real plug-ins take part."""
    code = "import sys\nfrom edgerkd.verify.doctor import examine\nexamine()\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
