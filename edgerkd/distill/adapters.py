"""Learned maps from the student's vectors to the teacher's, dropped after training."""

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from edgerkd.core.errors import ArtefactError
from edgerkd.models.build import feature_channels
from edgerkd.models.network import Network
from edgerkd.models.store import read_safetensors


class Adapters(nn.Module):
    """One affine map a tap on activated channel maps, one linear map on penultimate features.

    Where the channels agree the map is the identity. Taps are paired from the last one backwards, so
    that the deepest of student and teacher meet. Source: the box "Transformation" of MixACM's figure 2.
    None stands for a map that was never trained (`keep`).
    """

    penultimate: nn.Module | None

    def __init__(self, student: Network, teacher: Network) -> None:
        super().__init__()
        (own, own_last), (theirs, their_last) = feature_channels(student), feature_channels(teacher)
        pairs = zip(reversed(own), reversed(theirs), strict=False)
        self.taps = nn.ModuleList(nn.Identity() if s == t else nn.Linear(s, t) for s, t in pairs)
        self.penultimate = nn.Identity() if own_last == their_last else nn.Linear(own_last, their_last, bias=False)

    @classmethod
    def load(cls, path: Path, student: Network, teacher: Network) -> "Adapters":
        """The maps stored in a safetensors file. Raises ArtefactError where they do not fit the two networks."""
        adapters = cls(student, teacher)
        try:
            state = read_safetensors(path)
            adapters.keep(state.keys())
            adapters.load_state_dict(state)
        except RuntimeError as e:
            raise ArtefactError(
                f"{path}: not the adapters between {student.architecture} and {teacher.architecture}: {e}"
            ) from e
        return adapters.eval().requires_grad_(False)

    def keep(self, trained: Collection[str]) -> None:
        """Drop each map of which no weight is named in `trained`: what lies behind a random map says nothing.

        The identity has no weights and stays: it compares features as they are.
        """
        for index, tap in enumerate(self.taps):
            if tap is not None and _untrained(f"taps.{index}.", tap, trained):
                self.taps[index] = None  # type: ignore[assignment]  torch keeps a place for None, its stubs do not
        if self.penultimate is not None and _untrained("penultimate.", self.penultimate, trained):
            self.penultimate = None

    def empty(self) -> bool:
        """Whether no map is left."""
        return self.penultimate is None and all(tap is None for tap in self.taps)

    def pairs(self, student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """(adapter, student tap, teacher tap), deepest first."""
        found = zip(self.taps, reversed(student), reversed(teacher), strict=False)
        return [(tap, own, target) for tap, own, target in found if tap is not None]

    def forward(self, features: Tensor) -> Tensor:
        """Penultimate features (n, d_student) as (n, d_teacher)."""
        assert self.penultimate is not None
        with torch.autocast(features.device.type, enabled=False):
            return self.penultimate(features.float())


def _untrained(prefix: str, module: nn.Module, trained: Collection[str]) -> bool:
    own = [prefix + name for name, _ in module.named_parameters()]
    return bool(own) and not any(name in trained for name in own)
