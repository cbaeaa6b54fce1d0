"""Batch norm whose batch is that of all processes together.

torch's own SyncBatchNorm needs a GPU.
"""

from typing import Any

import torch
from torch import Tensor, nn

from edgerkd.distill.parallel import Parallel


class _Sum(torch.autograd.Function):
    """The sum over all processes; each one's value has a part in every one's loss, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, ranks: Parallel) -> Tensor:  # Any: torch's own context
        ctx.ranks = ranks
        return ranks.sum(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]  torch's is for any function
        return ctx.ranks.sum(gradient), None


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """As BatchNorm2d, with mean and variance over the images (n, c, h, w) of every process, n alike in all.

    It learns the very weight and bias of `local`, which an optimiser may hold already.
    """

    def __init__(self, local: nn.BatchNorm2d, ranks: Parallel) -> None:
        super().__init__(local.num_features, local.eps, local.momentum)
        self.load_state_dict(local.state_dict())
        self.weight, self.bias = local.weight, local.bias
        self._ranks = ranks

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float()
        mean = self._mean(x.mean((0, 2, 3)))
        centred = x - mean[:, None, None]
        variance = self._mean(centred.square().mean((0, 2, 3)))
        self._note(mean.detach(), variance.detach(), n=self._ranks.world * input.numel() // input.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    def _mean(self, value: Tensor) -> Tensor:
        return _Sum.apply(value, self._ranks) / self._ranks.world

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor, *, n: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * n / (n - 1), share)


def with_global_batch_norm(network: nn.Module, ranks: Parallel) -> None:
    """Put a GlobalBatchNorm2d in place of each BatchNorm2d in `network`."""
    for name, module in network.named_children():
        if isinstance(module, nn.BatchNorm2d):
            setattr(network, name, GlobalBatchNorm2d(module, ranks).to(module.weight.device))
        else:
            with_global_batch_norm(module, ranks)
