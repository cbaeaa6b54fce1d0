"""How a network is trained, as plain data; every default of edgerkd's training stands here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from edgerkd.core.errors import ConfigError, problems_text
from edgerkd.core.ranges import Ascending, Count, Name, Positive, Share, Weight, Within
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius

Option = bool | int | float | str
"""The value of one of a method's own options, as JSON holds it."""

LARGE_EPS = Radius("0.2")
"""Radius in L-inf above which training begins otherwise: see `eps_warmup_for`.

Ours: between 32/255 of the digits, where the usual way is no worse, and 0.3 of MNIST, where nothing is learned by it
(docs/sources.md)."""


EPS_WARMUP = 0.3
"""The share of a run in which the radius rises, where it does. Ours (docs/sources.md)."""


def is_large(threat_model: ThreatModel) -> bool:
    """Whether the radius is above LARGE_EPS, in L-inf."""
    return threat_model.norm == "Linf" and threat_model.eps > LARGE_EPS


def eps_warmup_for(threat_model: ThreatModel) -> float:
    """The `eps_warmup` of a run that is not given one: EPS_WARMUP for a large radius, else 0."""
    return EPS_WARMUP if is_large(threat_model) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Record):
    """One training run. Values without a source are ours; what was tried is in docs/sources.md."""

    method: Name
    threat_model: ThreatModel
    epochs: Count
    seed: Annotated[int, Within(0)] = 0
    batch: Annotated[int, Within(2)] = 128
    optimizer: Literal["muon", "sgd"] = "muon"
    """What moves the weights of convolutions that are not grouped; SGD with Nesterov momentum moves all others."""
    momentum: Annotated[float, Within(0, 1, above=True)] = 0.9
    """Of both."""
    lr: Positive = 0.2
    """The highest learning rate of SGD."""
    weight_decay: Weight = 5e-4
    """In SGD: its product with the weights is added to their gradient."""
    lr_muon: Positive = 0.05
    """The highest learning rate of Muon."""
    weight_decay_muon: Weight = 0.06
    """In Muon: its product with the rate is what a weight loses each step."""
    schedule: Literal["one-cycle", "piecewise"] = "one-cycle"
    warmup: Share = 0.25
    """Share of the run in which the learning rate rises (one-cycle)."""
    decay_at: Annotated[tuple[Share, ...], Ascending()] = (0.5, 0.75)
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
    eps_warmup: Share = 0.0
    """Share of the run in which the radius of the inner attack rises from 0, linearly.

    At a large radius training from scratch otherwise ends in a constant answer. Source: Wong and Kolter 2018,
    arXiv 1711.00851, appendix B.2.
    """
    options: dict[str, Option] = field(default_factory=dict[str, Option])
    """Every option of the method's own; defaults, ranges and sources stand beside it, in edgerkd/distill/methods/."""


_FLAGS = {"method": "--method", "threat_model": "--eps", "epochs": "--epochs", "seed": "--seed"}


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:  # Any: whatever JSON holds
    """Values of a recipe from `KEY=VALUE` texts: VALUE as JSON, and as the text it is where it is none.

    Raises ConfigError with all that is not written like this, or has a flag of its own. Whether keys and
    values are a recipe's or its method's shows when they are put into one (distill/methods/recipes.py).
    """
    found: dict[str, Any] = {}
    problems: list[str] = []
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key:
            problems.append(f"{setting!r}: write KEY=VALUE, like lr=0.1")
        elif key in _FLAGS:
            problems.append(f"{key}: has a flag of its own, {_FLAGS[key]}")
        elif key == "options":
            problems.append("options: set each by its own name, like weight_acm=2")
        elif key in found:
            problems.append(f"{key}: given twice")
        found[key] = _value(value)
    if problems:
        raise ConfigError(problems_text("--set", problems))
    return found


def _value(text: str) -> Any:  # Any: whatever JSON holds
    try:
        return json.loads(text)
    except ValueError:
        return text
