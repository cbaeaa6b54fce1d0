"""What a study trains: cases (data, teacher, student) times runs (a method and what is set otherwise) times seeds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgerkd.core.architecture import Architecture, StudentFamily
from edgerkd.core.errors import ConfigError
from edgerkd.core.ranges import Count, Name, Positive
from edgerkd.core.recipe import Option
from edgerkd.core.record import Record
from edgerkd.data.dataset import Dataset
from edgerkd.files.decode import decode_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(Record):
    """Data, a teacher, and the student that every run trains."""

    name: Name
    data: str
    family: StudentFamily
    widths: tuple[Count, ...]
    blocks: tuple[Count, ...]
    teacher: str | None = None
    """A file of weights, looked for in the folders of --teachers; the data's own teacher (`teacher list`) if None."""
    train: Count | None = None
    """Training images, at most; all of them if None."""

    def architecture(self, data: Dataset) -> Architecture:
        """The student's."""
        return data.architecture(self.family, widths=self.widths, blocks=self.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """A method with settings of its recipe or its own. `epochs`, `minutes` and `seeds` stand in for the plan's."""

    method: Name
    label: str | None = None
    set: dict[str, Option] = field(default_factory=dict[str, Option])
    epochs: Count | None = None
    minutes: Positive | None = None
    seeds: Count | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.label or " ".join([self.method, *(f"{key}={value}" for key, value in self.set.items())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Record):
    """A study. A run has so many `epochs`, or as many as fit into `minutes` of one core (of the GPU, where one is).

    `attacks` are names of attacks (`edgerkd evaluate --attack`), each with the number of images of `split` it gets.
    """

    title: str
    attacks: dict[str, Count]
    cases: tuple[Case, ...]
    runs: tuple[Run, ...]
    seeds: Count = 1
    epochs: Count | None = None
    minutes: Positive | None = None
    split: Literal["test", "val", "rest"] = "test"
    """What is attacked; `rest` are the training images that a case leaves out: to choose by, where many are needed."""

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if len(set(names)) < len(names):
            raise ConfigError(f"runs: two have the same name ({', '.join(names)}): give each a label")
        if not all((run.epochs or self.epochs) or (run.minutes or self.minutes) for run in self.runs):
            raise ConfigError("a run has neither epochs nor minutes, and the plan has none either")


def read_plan(path: Path) -> Plan:
    """The plan in a TOML file. Raises ConfigError with all that is wrong in it."""
    return decode_toml(Plan, path)


def pinned(run: Run, plan: Plan) -> tuple[int | None, float | None]:
    """How long the run is, as `epochs, minutes`, of which one is None: its own length, or else the plan's."""
    own = run if run.epochs or run.minutes else plan
    return own.epochs, None if own.epochs else own.minutes
