"""One batch as a method sees it, and what the two networks answer."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from edgerkd.core.recipe import Recipe
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.memory import TeacherMemory
from edgerkd.models.network import Features, Network


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The features that both networks have of one set of images, each computed once, when first asked for."""

    images: Tensor
    student: Network
    teacher: Network | None

    @cached_property
    def own(self) -> Features:
        """The student's, with their gradient; in training its batch norms use the statistics of these images alone."""
        return self.student.features(self.images)

    @cached_property
    def target(self) -> Features:
        """The teacher's, held constant."""
        assert self.teacher is not None
        with torch.no_grad():
            return self.teacher.features(self.images)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One batch: float images (n, c, h, w) in [0, 1], labels (n,), `progress` 0 to 1 of the run."""

    student: Network
    teacher: Network | None
    adapters: Adapters | None
    images: Tensor
    labels: Tensor
    recipe: Recipe
    progress: float
    generator: torch.Generator
    noise: np.random.Generator
    memory: TeacherMemory | None = None
    """What the teacher said to these images before the run, for a method that remembers."""

    @cached_property
    def clean(self) -> Answers:
        """What both networks answer to the batch itself."""
        return self.answers(self.images)

    def answers(self, images: Tensor) -> Answers:
        """What both networks answer to other images of the same labels."""
        return Answers(images=images, student=self.student, teacher=self.teacher)
