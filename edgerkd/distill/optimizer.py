"""What moves the weights: Muon the convolutions', SGD with Nesterov momentum all others."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from edgerkd.core.recipe import Recipe
from edgerkd.distill.muon import Muon


class Optimizer:
    """Both as one, their learning rates set by the share of their peaks.

    The filters of a grouped convolution are a row or a few each, with nothing to make equal: they stay with SGD.
    Muon's author leaves the first convolution and the classifier to another optimiser as well; here the first
    convolution is Muon's: ours.
    """

    def __init__(self, network: nn.Module, others: Iterable[nn.Parameter], recipe: Recipe) -> None:
        whole = (m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1)
        filters = [_own_weight(m) for m in whole] if recipe.optimizer == "muon" else []
        known = {id(p) for p in filters}
        rest = [*(p for p in network.parameters() if id(p) not in known), *others]
        self.parameters = [*filters, *rest]
        self.share = 0.0
        self._peaks = {"sgd": recipe.lr, "muon": recipe.lr_muon}
        sgd = torch.optim.SGD(
            rest, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
        )
        self._parts: dict[str, torch.optim.Optimizer] = {"sgd": sgd}
        if filters:
            self._parts["muon"] = Muon(
                filters, lr=recipe.lr_muon, momentum=recipe.momentum, weight_decay=recipe.weight_decay_muon
            )

    def set_rates(self, share: float) -> None:
        """Every learning rate to this share of its peak."""
        self.share = share
        for name, part in self._parts.items():
            for group in part.param_groups:
                group["lr"] = share * self._peaks[name]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for part in self._parts.values():
            part.step()

    def moved(self, parameter: nn.Parameter) -> bool:
        """Whether a step has moved this parameter."""
        return any(parameter in part.state for part in self._parts.values())

    def state_dict(self) -> dict[str, Any]:  # Any: what torch's own state_dicts hold
        """Both optimisers' states."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state of the same network and recipe."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def _own_weight(layer: nn.Conv2d) -> nn.Parameter:
    """A layer's weight, which its rounded one is made of where it has such (models/rounded.py)."""
    return layer.get_parameter("parametrizations.weight.original" if is_parametrized(layer, "weight") else "weight")
