"""Strided 1 x 1 convolutions that a CPU can train.

oneDNN's weight gradient of a strided 1 x 1 convolution in channels_last writes past its workspace where there are fewer
input channels than it takes at once: 16 on AVX-512, 8 on AVX2 (https://github.com/uxlfoundation/oneDNN/issues/6035,
still open in November 2026). With torch 2.14.1 that crashed the process on images of 56 x 56, and it can corrupt memory
in silence.
"""

import torch.nn.functional as F
from torch import Tensor, nn

AT_ONCE = 16


class SubsampledConv2d(nn.Conv2d):
    """A strided 1 x 1 convolution that in training drops the pixels it does not read, and then has no stride."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        rows, columns = self.stride
        return F.conv2d(input[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)


def subsample_first(network: nn.Module) -> None:
    """Exchange, in place, the convolutions that would write past their memory; weights, names and outputs stay."""
    for name, found in list(network.named_modules()):
        if type(found) is nn.Conv2d and _overruns(found):
            other = SubsampledConv2d(
                found.in_channels,
                found.out_channels,
                1,
                found.stride,  # type: ignore[arg-type]  a pair for two dimensions
                groups=found.groups,
                bias=found.bias is not None,
                device="meta",
            )
            other.weight, other.bias = found.weight, found.bias
            other.train(found.training)
            network.set_submodule(name, other)


def _overruns(conv: nn.Conv2d) -> bool:
    """Whether it is strided and 1 x 1, without padding, and has few input channels a group."""
    shape = (conv.kernel_size, conv.padding, conv.stride != (1, 1))
    return shape == ((1, 1), (0, 0), True) and conv.in_channels // conv.groups < AT_ONCE
