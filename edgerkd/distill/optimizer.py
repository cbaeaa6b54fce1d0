"""What moves the weights: Muon the convolutions', SGD with Nesterov momentum all others."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from edgerkd.core.recipe import Recipe


class Optimizer:
    """torch's two optimisers as one, their learning rates set by the share of their peaks.

    Muon moves a weight matrix along its momentum with all singular values made equal. A convolution's weights are
    seen as one matrix, a row a filter; a grouped one's are many small matrices, and stay with SGD.
    Source: Jordan 2024, kellerjordan.github.io/posts/muon; which weights it moves is from there as well.
    """

    def __init__(self, network: nn.Module, others: Iterable[nn.Parameter], recipe: Recipe) -> None:
        filters = _filters(network) if recipe.optimizer == "muon" else []
        known = {id(p) for p in filters}
        rest = [*(p for p in network.parameters() if id(p) not in known), *others]
        self.parameters = [*filters, *rest]
        self.share = 0.0
        sgd = torch.optim.SGD(
            rest, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
        )
        self._parts: dict[str, torch.optim.Optimizer] = {"sgd": sgd}
        self._peaks = {"sgd": recipe.lr, "muon": recipe.lr_muon}
        self._matrices = [(p, _rows(p.detach()).view(len(p), -1)) for p in filters]
        if filters:
            self._parts["muon"] = torch.optim.Muon(
                [matrix for _, matrix in self._matrices],
                lr=recipe.lr_muon,
                momentum=recipe.momentum,
                weight_decay=recipe.weight_decay_muon,
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
        for p, matrix in self._matrices:
            matrix.grad = None if p.grad is None else _rows(p.grad).flatten(1)
        for part in self._parts.values():
            part.step()

    def moved(self, parameter: nn.Parameter) -> bool:
        """Whether a step of SGD has moved this parameter."""
        return parameter in self._parts["sgd"].state

    def state_dict(self) -> dict[str, Any]:  # Any: what torch's own state_dicts hold
        """Both optimisers' states."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state of the same network and recipe."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def _filters(network: nn.Module) -> list[nn.Parameter]:
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.groups == 1]
    return [parameter for module in convolutions for parameter in module.parameters() if parameter.ndim == 4]


def _rows(weights: Tensor) -> Tensor:
    """Weights (o, i, h, w) in the order that channels_last memory has, so that the rest can be seen as one axis."""
    return weights.permute(0, 2, 3, 1)
