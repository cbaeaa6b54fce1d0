"""The CIFAR-type residual network: every batch norm follows a convolution, so all of them fold away on export.

Source: He et al. 2015, arXiv 1512.03385, section 4.2; projection shortcuts as in its option B.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.models.network import Features, Network, conv, pooled, stem_stride
from edgerkd.models.stages import blocks_of, outputs_of


class BasicBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(x), inplace=True)


class ResNet(Network):
    """Stem, stages, global average pool, linear. Taps are the stage outputs, after their ReLU."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        width = architecture.widths[0]
        self.conv = conv(architecture.channels, width, 3, stem_stride(architecture))
        self.bn = nn.BatchNorm2d(width)
        stages = blocks_of(architecture, BasicBlock, inputs=width)
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in stages)
        self.linear = nn.Linear(architecture.widths[-1], architecture.classes)

    def features(self, images: Tensor) -> Features:
        x = F.relu(self.bn(self.conv((images - self.mean) / self.std)), inplace=True)
        taps = outputs_of(self.stages, x)
        penultimate = pooled(taps[-1])
        return Features(self.linear(penultimate), taps, penultimate)
