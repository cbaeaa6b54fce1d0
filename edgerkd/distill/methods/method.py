"""A training method: which images the student is trained on, and which loss terms."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from edgerkd.core.recipe import Recipe
from edgerkd.distill.methods.step import Outputs, Step
from edgerkd.distill.teacher_outputs import CachedTeacherOutputs

Terms = dict[str, Tensor]
"""Named loss terms, already weighted; the trainer sums them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """`attack` makes the images that `terms` is asked about; without one those are the batch's own."""

    terms: Callable[[Step, Outputs], Terms]
    attack: Callable[[Step], Tensor] | None = None
    needs_teacher: bool = False
    needs_adapters: bool = False
    """The terms compare features, through the maps from the student's to the teacher's."""
    compares_taps: Callable[[Recipe], bool] | None = None
    """Whether these are the maps of taps as well, which not every teacher has."""
    caches_teacher: bool = False
    """The teacher is asked about each training image once, before the first step."""
    select_samples: Callable[[CachedTeacherOutputs, Tensor, Recipe], Tensor] | None = None
    """The rows of the training images that an epoch shows, where the teacher is cached; all if they fill no batch."""

    def __call__(self, step: Step) -> Terms:
        """The terms of one batch."""
        return self.terms(step, step.clean if self.attack is None else step.outputs(self.attack(step)))
