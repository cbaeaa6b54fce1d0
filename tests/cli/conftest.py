"""The main job walked once for all tests that look at its results."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgerkd.cli import app


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def edgerkd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """One command in this process, through the real `main`."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["edgerkd", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            app.main()
        captured = capsys.readouterr()
        return Ended(stop.value.code or 0, captured.out, captured.err)

    return run


def process(folder: Path, *arguments: str) -> Ended:
    """One command in a process of its own, from `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "edgerkd", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Road:
    """The main job as a user types it, and the same with a student trained the standard way."""

    folder: Path
    distilled: Ended
    exported: Ended
    verified: Ended
    standard: Path


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    """A teacher of 10 epochs and students of 18 and 12 in place of 30: less robust than the demo's, and quicker."""
    folder = tmp_path_factory.mktemp("road")
    taught = process(folder, "teacher", "train", "--epochs", "10")
    assert taught.code == 0, taught.err
    other = process(folder, "distill", "--method", "standard", "--epochs", "12", "--run", "runs/standard")
    assert other.code == 0, other.err
    assert process(folder, "export", "--run", "runs/standard").code == 0
    distilled = process(folder, "distill", "--profile", "jetson-orin", "--epochs", "18")
    exported = process(folder, "export", "--format", "trt")
    verified = process(folder, "verify")
    return Road(folder, distilled, exported, verified, folder / "runs" / "standard")
