"""The pre-activation residual network. Source: He et al. 2016, arXiv 1603.05027, figure 4e."""

import torch.nn.functional as F
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.models.network import Features, Network, conv, stem_stride


class PreActBlock(nn.Module):
    """o = relu(bn1(x)); conv2(relu(bn2(conv1(o)))) + shortcut, which is a convolution of o or x itself."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.shortcut = conv(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and its activated input `o`."""
        o = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(o)
        return self.conv2(F.relu(self.bn2(self.conv1(o)))) + shortcut, o


class PreActResNet(Network):
    """Stem, stages, batch norm, ReLU, global average pool, linear.

    A tap is the stage's output as the next layer sees it: after that layer's batch norm and ReLU,
    so that taps are activated maps in both families.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        width = architecture.widths[0]
        self.conv1 = conv(architecture.channels, width, 3, stem_stride(architecture))
        self.layers = nn.ModuleList()
        for index, (outputs, count) in enumerate(zip(architecture.widths, architecture.blocks, strict=True)):
            stage = nn.ModuleList()
            for stride in [1 if index == 0 else 2] + [1] * (count - 1):
                stage.append(PreActBlock(width, outputs, stride))
                width = outputs
            self.layers.append(stage)
        self.bn = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, architecture.classes)

    def features(self, images: Tensor) -> Features:
        x = self.conv1((images - self.mean) / self.std)
        taps: list[Tensor] = []
        for index, stage in enumerate(self.layers):
            for number, block in enumerate(stage):  # type: ignore[arg-type]  a ModuleList iterates over modules
                x, activated = block(x)
                if index > 0 and number == 0:
                    taps.append(activated)
        taps.append(F.relu(self.bn(x)))
        penultimate = taps[-1].mean((2, 3))
        return Features(self.linear(penultimate), tuple(taps), penultimate)
