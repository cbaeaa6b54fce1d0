"""The residual network of bottleneck blocks, with the small stem of CIFAR's images.

Source: He et al. 2015, arXiv 1512.03385, figure 5 right and table 1: a block narrows to a quarter of its
outputs, and the stem is as wide as the first stage's narrow part.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.models.network import Features, Network, conv, pooled
from edgerkd.models.stages import blocks_of, outputs_of

EXPANSION = 4


class Bottleneck(nn.Module):
    """relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(x)))))))) + shortcut(x)); conv2, the 3 x 3 one, has the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // EXPANSION
        self.conv1, self.bn1 = conv(inputs, narrow, 1), nn.BatchNorm2d(narrow)
        self.conv2, self.bn2 = conv(narrow, narrow, 3, stride), nn.BatchNorm2d(narrow)
        self.conv3, self.bn3 = conv(narrow, outputs, 1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(inner)) + self.shortcut(x))


class BottleneckResNet(Network):
    """Stem, stages, global average pool, linear. Taps are the stage outputs, after their ReLU."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        width = architecture.widths[0] // EXPANSION
        self.conv, self.bn = conv(architecture.channels, width, 3), nn.BatchNorm2d(width)
        stages = blocks_of(architecture, Bottleneck, inputs=width)
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in stages)
        self.linear = nn.Linear(architecture.widths[-1], architecture.classes)

    def features(self, images: Tensor) -> Features:
        x = F.relu(self.bn(self.conv((images - self.mean) / self.std)))
        taps = outputs_of(self.stages, x)
        penultimate = pooled(taps[-1])
        return Features(self.linear(penultimate), taps, penultimate)
