"""MobileNetV3. Source: Howard et al. 2019, arXiv 1905.02244, sections 4 and 5, table 1."""

import torch.nn.functional as F
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.models.inverted_residual import InvertedResidualNetwork


class HardSwish(nn.Module):
    """x relu6(x + 3) / 6. Source: section 5.2.

    Written as a product: opset 17 then has HardSigmoid and Mul, which every TensorRT here reads.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(x)


class SqueezeExcite(nn.Module):
    """x times one factor a channel, of the channels' means. Source: sections 4.1 and 5.3.

    A quarter of the channels are left between, rounded up to a multiple of 8; the rounding is ours.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = -(-channels // 32) * 8
        self.reduce, self.expand = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class MobileNetV3(InvertedResidualNetwork):
    """Inverted residuals with squeeze and excitation; ReLU in the first half of the stages, h-swish in the rest.

    The head is 6 times, the penultimate vector 8 times as wide as the last stage, as 960 and 1280 are
    to the paper's 160. Its searched choice of kernels, expansions and places of excitation is not
    followed: 3 x 3, 6 and everywhere are ours.
    """

    def __init__(self, architecture: Architecture) -> None:
        stages, width = len(architecture.widths), architecture.widths[-1]
        activations = [nn.ReLU() if index < stages // 2 else HardSwish() for index in range(stages)]
        super().__init__(
            architecture,
            stem=HardSwish(),
            activations=activations,
            excite=SqueezeExcite,
            head=6 * width,
            neck=nn.Sequential(nn.Linear(6 * width, 8 * width), HardSwish()),
            penultimate=8 * width,
        )
