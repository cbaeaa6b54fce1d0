"""What the attacker may do."""

from dataclasses import dataclass
from typing import Literal, get_args

from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.record import Record
from edgerkd.core.units import Radius

Norm = Literal["Linf", "L2"]


def load_norm(text: str) -> Norm:
    """The norm of that name, however it is capitalised. Raises UnknownNameError."""
    known: tuple[Norm, ...] = get_args(Norm)
    for norm in known:
        if norm.lower() == text.lower():
            return norm
    raise UnknownNameError("norm", text, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel(Record):
    """Perturbations of at most `eps` in `norm`, of images that stay in [0, 1].

    Raises ConfigError for a radius above 1 in L-inf: that is all there is between black and white.
    """

    norm: Norm
    eps: Radius

    def __post_init__(self) -> None:
        if self.norm == "Linf" and self.eps > 1:
            raise ConfigError(f"radius {self.eps} in Linf is outside 0 to 1 (images lie in [0, 1]): write 8/255, not 8")

    def __str__(self) -> str:
        return f"{self.norm} {self.eps}"
