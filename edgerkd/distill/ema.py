"""The exponential moving average of a network's weights."""

import copy

import torch

from edgerkd.models.network import Network


class WeightAverage:
    """Follows a network; the decay rises to its full value as min(decay, (1 + t) / (10 + t)).

    Source of the warm-up: TensorFlow's ExponentialMovingAverage, `num_updates`.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """Move towards the network's weights; batch-norm statistics are averaged too, counters are copied."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        own, new = self.network.state_dict(), network.state_dict()
        for name, value in own.items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - decay)
            else:
                value.copy_(new[name])
