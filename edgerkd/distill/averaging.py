"""Averages of a network's weights over its training."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from edgerkd.distill import together
from edgerkd.models.network import Network


def ema_share(updates: int, decay: float) -> float:
    """How far an exponential average moves after `updates` moves: 1 - min(decay, (1 + t) / (10 + t)).

    Source of the warm-up: TensorFlow's ExponentialMovingAverage, `num_updates`.
    """
    return 1 - min(decay, (1 + updates) / (10 + updates))


def swa_share(updates: int) -> float:
    """How far an equal average of all points moves towards its next one. Source: arXiv 1803.05407, algorithm 1."""
    return 1 / (updates + 1)


class WeightAverage:
    """A network whose weights are the average; `updates` counts the points in it."""

    def __init__(self, network: Network) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.updates = 0

    def update(self, network: Network, share: float) -> None:
        """Take one point more into the average: go `share` of the way to it."""
        self.move(network, share)
        self.updates += 1

    @torch.no_grad()
    def move(self, network: Network, share: float) -> None:
        """Go `share` of the way to the network; batch-norm statistics are averaged too, counters are copied."""
        own, new = self.network.state_dict(), network.state_dict()
        moved = [name for name, value in own.items() if value.is_floating_point()]
        together.move([own[name] for name in moved], [new[name] for name in moved], share)
        for name in own.keys() - set(moved):
            own[name].copy_(new[name])

    def measure_batch_norm(self, batches: Iterable[Tensor]) -> None:
        """Batch-norm statistics of the averaged weights themselves, over `batches` of float images.

        Source: arXiv 1803.05407, section 3.2.
        """
        update_bn(batches, self.network)
