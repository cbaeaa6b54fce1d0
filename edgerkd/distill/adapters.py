"""Learned maps from the student's vectors to the teacher's, dropped after training."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.core.errors import ArtefactError
from edgerkd.models.build import feature_channels


class Adapters(nn.Module):
    """One affine map a tap on activated channel maps, one linear map on penultimate features.

    Where the channels agree the map is the identity. Taps are paired from the last one backwards, so
    that the deepest of student and teacher meet. Source: the box "Transformation" of MixACM's figure 2.
    """

    def __init__(self, student: Architecture, teacher: Architecture) -> None:
        super().__init__()
        (own, own_last), (theirs, their_last) = feature_channels(student), feature_channels(teacher)
        pairs = zip(reversed(own), reversed(theirs), strict=False)
        self.taps = nn.ModuleList(nn.Identity() if s == t else nn.Linear(s, t) for s, t in pairs)
        self.penultimate = nn.Identity() if own_last == their_last else nn.Linear(own_last, their_last, bias=False)

    @classmethod
    def load(cls, path: Path, student: Architecture, teacher: Architecture) -> "Adapters":
        """The adapters stored in a safetensors file. Raises ArtefactError where they do not fit the two networks."""
        adapters = cls(student, teacher)
        try:
            adapters.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as e:
            raise ArtefactError(f"{path}: not the adapters between {student} and {teacher}: {e}") from e
        return adapters.eval().requires_grad_(False)

    def pairs(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """(adapter, student tap, teacher tap), deepest first."""
        return list(zip(self.taps, reversed(student), reversed(teacher), strict=False))

    def forward(self, features: Tensor) -> Tensor:
        """Penultimate features (n, d_student) as (n, d_teacher)."""
        with torch.autocast(features.device.type, enabled=False):
            return self.penultimate(features.float())
