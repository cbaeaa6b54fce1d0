"""The installed wheel on a machine without torch."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import Device

EXIT = {"pass as claimed": 8, "fail": 1, "inconclusive": 7}  # the design's, written down again on purpose


def test_host_packages_are_absent(device: Device) -> None:
    """Catches a fixture that lets the host's packages, or this checkout, in by the back door."""
    code = (
        "import importlib.util as u; print([n for n in ('torch', 'torchvision', 'onnx', 'sklearn', 'pytest', 'tests')"
        " if u.find_spec(n)]); import edgerkd; print(edgerkd.__file__)"
    )
    absent, where = device.python(code).stdout.splitlines()
    assert absent == "[]"
    assert where.startswith(str(device.environment))


def test_help(device: Device) -> None:
    done = device.edgerkd("--help")
    assert done.returncode == 0, done.stderr
    assert "verify" in done.stdout


def test_profiles_are_found_in_the_wheel(device: Device) -> None:
    done = device.edgerkd("profiles", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert "jetson-orin" in json.dumps(json.loads(done.stdout))


def test_doctor(device: Device) -> None:
    done = device.edgerkd("doctor", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_host_command_names_the_extra_to_install(device: Device) -> None:
    """Catches a traceback where the answer is one line."""
    done = device.edgerkd("distill", "--profile", "jetson-orin")
    assert done.returncode == 4, done.stderr
    assert "edgerkd[host]" in done.stderr


def test_entry_points_load(device: Device) -> None:
    """Catches a backend whose module needs the host's packages, or whose entry point names nothing."""
    code = (
        "from importlib.metadata import entry_points as e;"
        "print([p.load().__name__ for p in e(group='edgerkd.backends')])"
    )
    done = device.python(code)
    assert done.returncode == 0, done.stderr
    assert "OnnxCpuBackend" in done.stdout


@pytest.fixture
def carried(bundle: Path, device: Device) -> str:
    """The bundle copied to the device; its name there."""
    shutil.copytree(bundle, device.folder / "carried")
    return "carried"


def _right_verdict(report: dict[str, Any]) -> str:
    """What the facts of a report allow one to say: the rules of docs/adr/0005 and of the gates, once more."""
    gates = {gate["verdict"] for gate in report["gates"]}
    if not report["parity"]["ok"] or "fail" in gates or any(limit["ok"] is False for limit in report["budget"]):
        return "fail"
    attacked = any(row["source"] == "direct" for row in report["rows"])
    # Nobody signed the bundle, and nothing here could tell.
    passed = gates == {"pass"} and attacked and report["twin_agreement"] >= 0.999
    return "pass as claimed" if passed else "inconclusive"


def test_build(device: Device, carried: str) -> None:
    """Catches a build that needs torch or onnx, and an engine that is written anywhere but beside the bundle."""
    done = device.edgerkd("build", carried, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["backend"] == "onnx"
    assert sorted(path.name for path in device.folder.iterdir()) == ["carried", "engines"]
    assert len(list((device.folder / "engines").rglob("engine.json"))) == 1


def test_verify_reaches_a_verdict(device: Device, carried: str) -> None:
    """Catches a verify that needs torch, and an exit code that does not say what the report says."""
    torch = device.python("import importlib.util as u; print(u.find_spec('torch'))")
    assert torch.stdout.strip() == "None"
    done = device.edgerkd("verify", carried, "--attack", "autoattack", "--json")  # every attack, on this NumPy
    assert done.returncode in EXIT.values(), done.stderr
    (evidence,) = device.folder.glob("verify-carried-*.json")
    report = json.loads(evidence.read_text())
    assert json.loads(done.stdout) == report
    assert report["engine"]["backend"] == "onnx"
    assert [row["attack"] for row in report["rows"]] == ["noise", "replay", "apgd-ce", "apgd-t", "fab-t", "square"]
    assert {row["source"] for row in report["rows"]} >= {"replay", "direct"}
    assert report["verdict"] == _right_verdict(report)
    assert done.returncode == EXIT[report["verdict"]]
