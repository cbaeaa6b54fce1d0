"""What the attacker may do."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.record import Record
from edgerkd.core.units import Radius

Norm = Literal["Linf", "L2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel(Record):
    """Perturbations of at most `eps` in `norm`, of images that stay in [0, 1]."""

    norm: Norm
    eps: Radius

    def __str__(self) -> str:
        return f"{self.norm} {self.eps}"
