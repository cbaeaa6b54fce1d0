"""What a study trains: cases (data, teacher, student) times runs (a method and what is set otherwise) times seeds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

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
    start: str | None = None
    """A file of weights, in the same folders, that the student begins with; it begins anew if None."""
    train: Count | None = None
    """Training images, at most; all of them if None."""

    def architecture(self, data: Dataset) -> Architecture:
        """The student's."""
        return data.architecture(self.family, widths=self.widths, blocks=self.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """A method with settings of its recipe or its own. Its length and `seeds` stand in for the plan's."""

    method: Name
    label: str | None = None
    set: dict[str, Option] = field(default_factory=dict[str, Option])
    epochs: Count | None = None
    minutes: Positive | None = None
    tera_macs: Positive | None = None
    seeds: Count | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.label or " ".join([self.method, *(f"{key}={value}" for key, value in self.set.items())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Record):
    """A study. A run has so many `epochs`, or as many as fit into `minutes` of one core (of the GPU, where one is).

    Or into so many `tera_macs`: 10^12 multiply-adds of all networks, teacher and attacks included, on any machine.
    `attacks` are names of attacks (`edgerkd evaluate --attack`), each with the number of images of `split` it gets.
    """

    title: str
    attacks: dict[str, Count]
    cases: tuple[Case, ...]
    runs: tuple[Run, ...]
    seeds: Count = 1
    epochs: Count | None = None
    minutes: Positive | None = None
    tera_macs: Positive | None = None
    split: Literal["test", "val", "rest"] = "test"
    """What is attacked; `rest` are the training images that a case leaves out: to choose by, where many are needed."""
    exact: bool = True
    """Whether attacks are led by gradients in float32 even where bfloat16 is faster; answers always are."""

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if len(set(names)) < len(names):
            raise ConfigError(f"runs: two have the same name ({', '.join(names)}): give each a label")
        if not all(any(length_of(run, self)) for run in self.runs):
            raise ConfigError("a run has neither epochs nor minutes nor tera_macs, and the plan has none either")


def read_plan(path: Path) -> Plan:
    """The plan in a TOML file. Raises ConfigError with all that is wrong in it."""
    return decode_toml(Plan, path)


class Length(NamedTuple):
    """How long a run is: of several, the first that is given holds."""

    epochs: int | None = None
    minutes: float | None = None
    tera_macs: float | None = None


def length_of(run: Run, plan: Plan) -> Length:
    """The run's own length, or else the plan's."""
    own, planned = (Length(each.epochs, each.minutes, each.tera_macs) for each in (run, plan))
    return own if any(own) else planned
