"""How a network is trained, as plain data; every default of edgerkd's training stands here."""

from dataclasses import dataclass
from typing import Literal, get_args

from edgerkd.core.errors import UnknownNameError
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel

MethodName = Literal["standard", "pgd-at", "mixacm", "edgerkd"]


def load_method(name: str) -> MethodName:
    """The method of that name. Raises UnknownNameError."""
    known: tuple[MethodName, ...] = get_args(MethodName)
    for method in known:
        if method == name:
            return method
    raise UnknownNameError("method", name, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Record):
    """One training run. Values without a source are ours; what was tried is in docs/sources.md."""

    method: MethodName
    threat_model: ThreatModel
    epochs: int
    seed: int = 0
    batch: int = 128
    lr: float = 0.2
    """Peak of the one-cycle schedule, SGD with Nesterov momentum."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.25
    """Share of the run in which the learning rate rises."""
    ema_decay: float = 0.995
    attack_steps: int = 10
    """Steps of the inner attack. Source: RSLAD (ICCV 2021), section 4.1."""
    adversarial_share: float = 0.8
    """The last share of epochs, in which the student also sees adversarial images (method edgerkd)."""
    mixup_alpha: float = 1.0
    temperature: float = 1.0
    weight_acm: float = 1.0
    weight_kld: float = 1.0
    weight_cov: float = 0.1
    weight_gram: float = 0.1
    weight_clean: float = 1 / 6
    """Share of the clean term beside the adversarial one. Source: RSLAD (ICCV 2021), eq. 7 and its code."""
