"""Learned maps from the student's vectors to the teacher's, dropped after training."""

import torch
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture


class Adapters(nn.Module):
    """One affine map a tap on activated channel maps, one linear map on penultimate features.

    Where the widths agree the map is the identity. Taps are paired from the last one backwards, so
    that the deepest of student and teacher meet. Source: the box "Transformation" of MixACM's figure 2.
    """

    def __init__(self, student: Architecture, teacher: Architecture) -> None:
        super().__init__()
        pairs = list(zip(reversed(student.widths), reversed(teacher.widths), strict=False))
        self.taps = nn.ModuleList(nn.Identity() if s == t else nn.Linear(s, t) for s, t in pairs)
        s, t = student.widths[-1], teacher.widths[-1]
        self.penultimate = nn.Identity() if s == t else nn.Linear(s, t, bias=False)

    def pairs(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """(adapter, student tap, teacher tap), deepest first."""
        return list(zip(self.taps, reversed(student), reversed(teacher), strict=False))

    def forward(self, features: Tensor) -> Tensor:
        """Penultimate features (n, d_student) as (n, d_teacher)."""
        with torch.autocast(features.device.type, enabled=False):
            return self.penultimate(features.float())
