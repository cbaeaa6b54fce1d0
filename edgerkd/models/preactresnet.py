"""The pre-activation residual network. Source: He et al. 2016, arXiv 1603.05027, figure 4e."""

import torch.nn.functional as F
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.models.network import Features, Network, conv, pooled, stem_stride
from edgerkd.models.stages import activated_outputs_of, blocks_of


class PreActBlock(nn.Module):
    """o = relu(bn1(x)); conv2(relu(bn2(conv1(o)))) + shortcut, which is a convolution of o or x itself."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.shortcut = conv(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and its activated input `o`."""
        o = F.relu(self.bn1(x), inplace=True)
        shortcut = x if self.shortcut is None else self.shortcut(o)
        return self.conv2(F.relu(self.bn2(self.conv1(o)), inplace=True)) + shortcut, o


class PreActResNet(Network):
    """Stem, stages, batch norm, ReLU, global average pool, linear.

    A tap is the stage's output as the next layer sees it: after that layer's batch norm and ReLU,
    so that taps are activated maps in both families.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        width = architecture.widths[0]
        self.conv1 = conv(architecture.channels, width, 3, stem_stride(architecture))
        stages = blocks_of(architecture, PreActBlock, inputs=width)
        self.layers = nn.ModuleList(nn.ModuleList(blocks) for blocks in stages)
        self.bn = nn.BatchNorm2d(architecture.widths[-1])
        self.linear = nn.Linear(architecture.widths[-1], architecture.classes)

    def features(self, images: Tensor) -> Features:
        x = self.conv1((images - self.mean) / self.std)
        x, taps = activated_outputs_of(self.layers, x)
        taps.append(F.relu(self.bn(x), inplace=True))
        penultimate = pooled(taps[-1])
        return Features(self.linear(penultimate), tuple(taps), penultimate)
