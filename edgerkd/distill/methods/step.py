"""One batch as a method sees it, and what the two networks answer."""

from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import torch
from torch import Tensor

from edgerkd.core.recipe import Recipe
from edgerkd.core.record import Record
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.moment import Moment
from edgerkd.distill.noise import Noise
from edgerkd.distill.teacher_outputs import CachedTeacherOutputs
from edgerkd.models.network import Features, Network

O_co = TypeVar("O_co", bound=Record, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The features that both networks have of one set of images, each computed once, when first asked for."""

    images: Tensor
    student_network: Network
    teacher_network: Network | None

    @cached_property
    def student(self) -> Features:
        """The student's, with their gradient; in training its batch norms use the statistics of these images alone."""
        return self.student_network.features(self.images)

    @cached_property
    def teacher(self) -> Features:
        """The teacher's, held constant."""
        assert self.teacher_network is not None
        with torch.no_grad():
            return self.teacher_network.features(self.images)


@dataclass(frozen=True, kw_only=True)
class Step(Generic[O_co]):
    """One batch: float images (n, c, h, w) in [0, 1], labels (n,), at a `moment` of the run.

    `options` are the method's own, with the values that the recipe has for them.
    """

    student: Network
    teacher: Network | None
    adapters: Adapters | None
    images: Tensor
    labels: Tensor
    recipe: Recipe
    options: O_co
    moment: Moment
    generator: torch.Generator
    noise: Noise
    cached_teacher: CachedTeacherOutputs | None = None
    """What the teacher said to these images before the run, for a method that caches_teacher."""

    @property
    def eps(self) -> float:
        """The radius of the attack on this batch: the threat model's, to which it rises from 0 during `eps_warmup`."""
        eps, warmup = float(self.recipe.threat_model.eps), self.recipe.eps_warmup
        return eps if self.past(warmup) else eps * self.progress / warmup

    @property
    def progress(self) -> float:
        """The share of the run that is over, 0 to 1. A step that asks for it is never repeated (distill/replay.py)."""
        return self.moment.progress()

    def past(self, share: float) -> bool:
        """Whether this share of the run is over."""
        return self.moment.past(share)

    @cached_property
    def clean(self) -> Outputs:
        """What both networks answer to the batch itself."""
        return self.outputs(self.images)

    def outputs(self, images: Tensor) -> Outputs:
        """What both networks answer to other images of the same labels."""
        return Outputs(images=images, student_network=self.student, teacher_network=self.teacher)
