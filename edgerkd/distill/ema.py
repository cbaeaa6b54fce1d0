"""The exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class WeightAverage:
    """Follows a network; the decay rises to its full value as min(decay, (1 + t) / (10 + t)).

    Source of the warm-up: TensorFlow's ExponentialMovingAverage, `num_updates`.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's weights; batch-norm statistics are averaged too, counters are copied."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        own, new = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in floats], [new[name] for name in floats], 1 - decay)
        for name in own.keys() - set(floats):
            own[name].copy_(new[name])
