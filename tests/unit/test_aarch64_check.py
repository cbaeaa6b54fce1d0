"""bench/aarch64.py and what it stands on: when it fails, when it is skipped, which reports are the same."""

import copy
import subprocess
import zipfile

import pytest
from packaging.requirements import Requirement

from tests.benches import bench

CHECK, ARM64, WHEELS, SIZE = (bench(name) for name in ("aarch64", "arm64", "device_wheels", "install_size"))

REPORT = {
    "verdict": "pass",
    "engine": {"version": "1.32.0", "device": {"machine": "x86_64"}, "sha256": "ab"},
    "rows": [{"attack": "pgd", "robust_acc": {"value": 0.8125, "n": 96}}],
    "flags": [],
    "gates": [{"gate": "robust_acc", "verdict": "pass"}],
    "latency_ms": {"p50": 0.03},
    "parity": {"max_abs_dlogit": 0.0, "ok": True},
    "seed": 0,
    "probe_seed": 7,
}


def _wrong(there) -> list[str]:
    paths = [path for path, _, _ in CHECK.differences(REPORT, there)]
    return [path for path in paths if not path.startswith(CHECK.EXPECTED)]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda r: r.update(verdict="fail"), "verdict"),
        (lambda r: r["rows"][0]["robust_acc"].update(value=0.8125 - 1 / 96), "rows[0].robust_acc.value"),
        (lambda r: r["rows"].append(r["rows"][0]), "rows"),
        (lambda r: r["flags"].append({"id": "masked"}), "flags"),
        (lambda r: r["gates"][0].update(verdict="inconclusive"), "gates[0].verdict"),
        (lambda r: r["parity"].update(ok=1), "parity.ok"),
        (lambda r: r["engine"].pop("sha256"), "engine.sha256"),
        (lambda r: r.update(new=0.1), "new"),
    ],
)
def test_a_difference_in_what_was_found_is_one(change, path):
    """Catches a comparison of the verdicts alone, and one that passes over what only one of the reports has."""
    there = copy.deepcopy(REPORT)
    change(there)
    assert _wrong(there) == [path]


def test_the_machine_its_speed_and_rounding_make_no_difference():
    """Catches a check that can never pass."""
    there = copy.deepcopy(REPORT)
    there["engine"].update(version="1.23.2", device={"machine": "aarch64"})
    there["latency_ms"]["p50"] = 3.0
    there["parity"]["max_abs_dlogit"] = 2e-6
    assert _wrong(there) == []
    assert len(list(CHECK.differences(REPORT, there))) == 3


def test_the_seeds_are_all_that_a_report_has():
    """Catches a seed that is drawn on both machines: their images would not be the same."""
    assert CHECK.seeds_of(REPORT) == {"seed": 0, "probe_seed": 7}


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """A function that puts an apt in the path which fails where its arguments have a word."""

    def install(failing):
        tools = {
            "apt-get": f'case "$*" in *{failing}*) echo "E: no such thing" >&2; exit 100;; esac',
            "dpkg": "echo amd64",
        }
        for name, script in tools.items():
            (tmp_path / "bin").mkdir(exist_ok=True)
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "bin" / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin")

    return install


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        (None, "there is no apt-get on this machine"),
        ("update", "apt-get cannot fetch the lists of packages: E: no such thing"),
        ("download qemu", "apt-get cannot fetch qemu-user-static: E: no such thing"),
    ],
)
def test_without_apt_or_the_emulator_it_is_skipped_with_a_reason(failing, reason, apt, tmp_path, monkeypatch, capsys):
    """Catches a machine without apt on which CI fails, and a skip in silence."""
    monkeypatch.setenv("PATH", str(tmp_path)) if failing is None else apt(f'"{failing}"')
    monkeypatch.setattr(CHECK, "BUILD", tmp_path / "build")
    monkeypatch.setattr("sys.argv", ["aarch64.py"])
    CHECK.main()
    assert capsys.readouterr().out == f"NOT CHECKED on aarch64: {reason}.\n"
    assert not (tmp_path / "build/aarch64/apt").exists()


def test_where_the_system_cannot_be_had_it_fails(apt, tmp_path):
    """Catches a check that is skipped for whatever reason, and so is never made."""
    apt("--download-only")
    (tmp_path / "qemu-aarch64-static").touch()
    with pytest.raises(subprocess.CalledProcessError):
        ARM64.arm64(tmp_path)
    assert not (tmp_path / "root").exists()


def test_another_tree_makes_everything_anew(tmp_path):
    """Catches a bundle, or a report, that an earlier state of the code has made."""
    for key, left in (("a", []), ("a", ["report"]), ("b", [])):
        work = CHECK.work_folder(tmp_path / "work", key)
        assert [path.name for path in work.iterdir() if path.name != "made-by.txt"] == left
        (work / "report").touch()


@pytest.mark.parametrize(("python", "processor"), [("3.10", "aarch64"), ("3.10", "x86_64"), ("3.12", "aarch64")])
def test_pins_are_one_a_package_and_need_no_marker(python, processor):
    """Catches markers asked of the Python that runs this, which would choose another NumPy."""
    found = [line.split() for line in WHEELS.pins(python, processor)]
    names = [Requirement(first).name for first, *_ in found]
    assert len(names) == len(set(names))
    assert {"numpy", "onnxruntime", "pydantic-core"} <= set(names)
    assert ("tomli" in names) == (python == "3.10")
    assert all(hashes and all(each.startswith("--hash=sha256:") for each in hashes) for _, *hashes in found)


def _wheel(folder, name, size, requires=()):
    path = folder / f"{name}-1.0-py3-none-any.whl"
    metadata = "".join(f"Requires-Dist: {line}\n" for line in requires)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\n{metadata}\n")
        archive.writestr(f"{name}/__init__.py", b"#" * size)
    return path


def test_an_install_is_what_its_packages_unpack_to(tmp_path):
    """Catches sizes of compressed files, an extra in the base, and what a dependency itself needs left out."""
    requires = ["numpy>=1", "onnxruntime; extra == 'ort'", "never; sys_platform == 'win32'"]
    wheels = [
        _wheel(tmp_path, "edgerkd", 1000, requires),
        _wheel(tmp_path, "numpy", 79_000_000),
        _wheel(tmp_path, "onnxruntime", 60_000_000, ["SymPy"]),
        _wheel(tmp_path, "sympy", 12_000_000),
    ]
    sizes = {WHEELS.wheel_name(wheel): SIZE.unpacked_size(wheel) for wheel in wheels}
    needed = {WHEELS.wheel_name(wheel): WHEELS.requirements_of(wheel) for wheel in wheels}
    machine = WHEELS.linux("3.10", "aarch64")
    chosen = {extra: SIZE.installed(needed, extra, machine) for extra in ("", "ort")}
    assert chosen[""] == {"edgerkd", "numpy"}
    assert chosen["ort"] == {"edgerkd", "numpy", "onnxruntime", "sympy"}
    assert SIZE.excesses(sizes, chosen, "here") == ["here: edgerkd[ort] takes 151.0 MB, and 150 MB are the limit"]
