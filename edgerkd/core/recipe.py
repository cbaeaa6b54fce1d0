"""How a network is trained, as plain data; every default of edgerkd's training stands here."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from edgerkd.core.errors import UnknownNameError
from edgerkd.core.ranges import Count, Positive, Share, Weight, Within
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
    epochs: Count
    seed: Annotated[int, Within(0)] = 0
    batch: Annotated[int, Within(2)] = 128
    lr: Positive = 0.2
    """The highest learning rate, SGD with Nesterov momentum."""
    momentum: Annotated[float, Within(0, 1, above=True)] = 0.9
    weight_decay: Weight = 5e-4
    schedule: Literal["one-cycle", "piecewise"] = "one-cycle"
    warmup: Share = 0.25
    """Share of the run in which the learning rate rises (one-cycle)."""
    decay_at: tuple[Share, ...] = (0.5, 0.75)
    """Shares of the run at which the learning rate falls to a tenth (piecewise). Source: ARD, 100 and 150 of 200."""
    clip_norm: Positive | None = None
    """The longest gradient, in L2 over all parameters; longer ones are shortened to it."""
    averaging: Literal["ema", "swa"] = "ema"
    """Which average of the weights is validated and kept: exponential, or equal over epochs."""
    ema_decay: Share = 0.995
    swa_start: Share = 0.75
    """Share of the run from which epochs are averaged. Source: arXiv 1803.05407, section 4."""
    cutout: Share = 0.0
    """Side of the square cut out of each image, as a share of its height."""
    patience: Count | None = None
    """Epochs without a new best on the validation split after which training stops."""
    attack_steps: Count = 10
    """Steps of the inner attack. Source: RSLAD (ICCV 2021), section 4.1."""
    adversarial_share: Share = 0.8
    """The last share of epochs, in which the student also sees adversarial images (method edgerkd)."""
    mixup_alpha: Weight = 1.0
    temperature: Positive = 1.0
    weight_acm: Weight = 1.0
    weight_kld: Weight = 1.0
    weight_cov: Weight = 0.1
    weight_gram: Weight = 0.1
    weight_clean: Share = 1 / 6
    """Share of the clean term beside the adversarial one. Source: RSLAD (ICCV 2021), eq. 7 and its code."""
