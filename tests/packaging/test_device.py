"""The installed wheel on a machine without torch."""

import json

from tests.packaging.conftest import Device


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
    """Catches a back-end whose module needs the host's packages, or whose entry point names nothing."""
    code = (
        "from importlib.metadata import entry_points as e;"
        "print([p.load().__name__ for g in ('edgerkd.exporters', 'edgerkd.runtimes') for p in e(group=g)])"
    )
    done = device.python(code)
    assert done.returncode == 0, done.stderr
    assert "OnnxRuntime" in done.stdout
