"""Where the files of a run lie: `runs/NAME/`, with `runs/latest` naming the newest."""

import os
from dataclasses import dataclass
from pathlib import Path

from edgerkd.core.errors import ConfigError, StorageError

RUNS = Path("runs")
COMPARISON_PAGE = "comparison.html"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run. On a device the bundle may have another name: `bundle_name`."""

    path: Path
    bundle_name: str = "bundle"

    @property
    def recipe(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def student(self) -> Path:
        return self.path / "student"

    @property
    def trained(self) -> Path:
        """The student, where there is one. Raises ConfigError where its training has not ended."""
        if not self.student.exists():
            raise ConfigError(
                f"{self.path}: training is not finished: resume it with `edgerkd distill --resume --run {self.path}`."
            )
        return self.student

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.pt"

    @property
    def adapters(self) -> Path:
        """What bound the student to its teacher while it was trained."""
        return self.path / "adapters.safetensors"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def evaluations(self) -> Path:
        """What stopped evaluations have done so far, one folder each."""
        return self.path / "evaluations"

    @property
    def attacked(self) -> Path:
        """What the host's attacks made of student and teacher for the last bundle, which the next goes on from."""
        return self.path / "attacked"

    @property
    def curve(self) -> Path:
        return self.path / "curve.json"

    @property
    def curve_page(self) -> Path:
        return self.path / "curve.html"

    @property
    def variance_gap(self) -> Path:
        return self.path / "variance-gap.json"

    @property
    def variance_gap_page(self) -> Path:
        return self.path / "variance-gap.html"

    @property
    def comparison(self) -> Path:
        return self.path / "comparison.json"

    @property
    def teacher(self) -> Path:
        """The teacher's evaluation."""
        return self.path / "teacher.json"

    @property
    def baseline(self) -> Path:
        """The evaluation of a standard-trained student of the same size, which `edgerkd demo` makes."""
        return self.path / "baseline.json"

    @property
    def bundle(self) -> Path:
        return self.path / self.bundle_name

    @property
    def engines(self) -> Path:
        return self.path / "engines"

    def verification(self, key: str) -> Path:
        """The report on the bundle of that name and digest: two bundles side by side never share one."""
        return self.path / f"verify-{key}.json"

    @property
    def page(self) -> Path:
        """The report's; that of a bundle which no run made has the bundle's name."""
        return self.path / ("report.html" if self.recipe.exists() else f"report-{self.bundle_name}.html")


def latest_run(otherwise: str = "name one with --run") -> RunFolder:
    """The newest run, which `runs/latest` names. Raises ConfigError where there is none: so, or `otherwise`."""
    link = RUNS / "latest"
    try:
        # A copy that followed the link holds the run itself.
        target = RUNS / link.readlink() if link.is_symlink() else link
        there = target.exists()
    except (OSError, RuntimeError) as e:
        raise ConfigError(f"{link} cannot be followed ({e}): {otherwise}.") from e
    if not there:
        raise ConfigError(f"{link}: there is no run here yet. Start one with `edgerkd distill`, or {otherwise}.")
    return RunFolder(target)


def check_latest() -> None:
    """Raises ConfigError where `runs/latest` is a person's own folder or file."""
    link = RUNS / "latest"
    if link.exists() and not link.is_symlink():
        raise ConfigError(f"{link} is not a link but a folder or a file: move it away.")


def mark_latest(run: RunFolder) -> None:
    """Let `runs/latest` name this run.

    Raises ConfigError where something else has that name, StorageError where no link can be made.
    """
    check_latest()
    link = RUNS / "latest"
    try:
        RUNS.mkdir(parents=True, exist_ok=True)
        new = link.with_name(f".latest-{os.getpid()}")
        new.unlink(missing_ok=True)  # of a killed process that had our number
        new.symlink_to(os.path.relpath(run.path.resolve(), RUNS.resolve()))
        new.replace(link)
    except OSError as e:
        raise StorageError(
            f"{link}: cannot be written: {e.strerror}. {RUNS} must be a folder that can be written to: move away what "
            "has its name, or work in another folder."
        ) from e
