"""The main job walked once for all tests that look at its results."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import Ended, export_quickly, prepare, process


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
    standard = ("--run", "runs/standard")
    prepare(
        folder,
        ("teacher", "train", "--epochs", "10"),
        ("distill", "--method", "standard", "--epochs", "12", *standard),
        ("export", *standard, "--precision", "fp32"),
    )
    distilled = process(folder, "distill", "--profile", "jetson-orin", "--epochs", "18")
    exported = export_quickly(folder, "--format", "trt")
    verified = process(folder, "verify")
    return Road(folder, distilled, exported, verified, folder / "runs" / "standard")
