"""The wheel, and a device: an environment that has the base package and [ort] and nothing else."""

import importlib.metadata
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.bundles import write_small_bundle

REPOSITORY = Path(__file__).parents[2]


def hatch_build(target: str, source: Path, into: Path) -> Path:
    """Build `wheel` or `sdist` of a source tree, as `pip install --no-build-isolation` would."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hatch_build("wheel", REPOSITORY, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hatch_build("sdist", REPOSITORY, tmp_path_factory.mktemp("sdist"))


@dataclass(frozen=True)
class Device:
    """A virtual environment to run things in, and an empty folder to run them from."""

    environment: Path
    folder: Path

    def edgerkd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("edgerkd", *arguments)

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        return self._run("python", "-c", code)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # No PYTHONPATH and no way back to this checkout: what works here works on a machine that has no torch.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "EDGERKD_CACHE", "COLUMNS", "NO_COLOR", "TERM")}
        command = [str(self.environment / "bin" / program), *arguments]
        return subprocess.run(command, cwd=self.folder, env=kept, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """The environment: the wheel installed by pip; base and [ort] dependencies linked from the running environment.

    With --device-packages they are linked from there.
    """
    given = pytestconfig.getoption("--device-packages")
    found = importlib.metadata.distributions(path=[str(Path(given).resolve())] if given else sys.path)
    there = {canonicalize_name(d.name): d for d in found}
    environment = tmp_path_factory.mktemp("device") / "env"
    venv.create(environment, symlinks=True, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True, capture_output=True, text=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    for name in _needed(there, "edgerkd", frozenset({"ort"})) - {"edgerkd"}:
        _link(there[name], site_packages)
    return environment


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for profile x86-cpu as a host with torch writes it; the device only ever sees this folder."""
    folder = tmp_path_factory.mktemp("host") / "bundle"
    write_small_bundle(folder)
    return folder


@pytest.fixture
def device(installed: Path, tmp_path: Path) -> Device:
    return Device(installed, tmp_path)


def _needed(there: dict[str, importlib.metadata.Distribution], name: str, extras: frozenset[str]) -> set[str]:
    """A distribution and all it needs here, by name."""
    needed = {name}
    for line in there[name].requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            needed |= _needed(there, canonicalize_name(requirement.name), frozenset(requirement.extras))
    return needed


def _link(distribution: importlib.metadata.Distribution, site_packages: Path) -> None:
    """Links instead of an install: no network, and no copy of some hundred megabytes."""
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        link = site_packages / top
        if not link.exists():
            link.symlink_to(distribution.locate_file(top))
