"""A training method: which images the student is trained on, and which loss terms, with its options and its words."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor

from edgerkd.core.method import MethodFacts
from edgerkd.core.record import Record
from edgerkd.distill.methods.step import Outputs, Step
from edgerkd.distill.teacher_outputs import CachedTeacherOutputs

Terms = dict[str, Tensor]
"""Named loss terms, already weighted; the trainer sums them."""

O = TypeVar("O", bound=Record)  # noqa: E741  the options


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions(Record):
    """Of a method whose every constant is its paper's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method(Generic[O]):
    """`attack` makes the images that `terms` is asked about; without one those are the batch's own.

    `description` is one line without a full stop, which the report shows; `sources` are papers, or "ours". `options`
    is a record whose fields all have defaults, and ranges as their types say (edgerkd/core/ranges.py).
    """

    name: str
    description: str
    sources: tuple[str, ...]
    options: type[O]
    terms: Callable[[Step[O], Outputs], Terms]
    attack: Callable[[Step[O]], Tensor] | None = None
    needs_teacher: bool = False
    needs_adapters: bool = False
    """The terms compare features, through the maps from the student's to the teacher's."""
    compares_taps: Callable[[O], bool] | None = None
    """Whether these are the maps of taps as well, which not every teacher has."""
    caches_teacher: bool = False
    """The teacher is asked about each training image once, before the first step."""
    select_samples: Callable[[CachedTeacherOutputs, Tensor, O], Tensor] | None = None
    """The rows of the training images that an epoch shows, where the teacher is cached; all if they fill no batch."""
    trains_teachers: bool = False
    """It makes a robust network by itself, so that teachers can be trained by it."""
    single_step: bool = False
    """Its attack is one step, whatever `attack_steps` says."""
    keeps_best: Literal["robust", "clean"] = "robust"
    """By which accuracy on the validation split the epoch is chosen whose weights are kept."""

    def __call__(self, step: Step[O]) -> Terms:
        """The terms of one batch."""
        return self.terms(step, step.clean if self.attack is None else step.outputs(self.attack(step)))

    @property
    def facts(self) -> MethodFacts:
        """What a run records of it."""
        return MethodFacts(name=self.name, description=self.description, sources=self.sources)


AnyMethod = Method[Any]  # Any: whichever options
