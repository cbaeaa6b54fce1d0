"""The wide residual network, in the readings robust checkpoints are published with.

Source: Zagoruyko and Komodakis 2016, arXiv 1605.07146, table 1: a stem of 16 channels, then three
stages of pre-activation blocks; of depth d and width k they have (d - 4) / 6 blocks and 16 k, 32 k, 64 k channels.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.models.network import Features, Network, conv, pooled
from edgerkd.models.stages import activated_outputs_of, blocks_of

Activation = Callable[[Tensor], Tensor]

STEM = 16


class WideBlock(nn.Module):
    """o = act(bn1(x)); conv2(act(bn2(conv1(o)))) + shortcut, which is a convolution of o where the width changes.

    `same` pads a strided convolution as TensorFlow's SAME does: images of even size at the right and
    bottom alone. Checkpoints that came from JAX need it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Activation, *, same: bool) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.shortcut = conv(inputs, outputs, 1, stride) if inputs != outputs else None
        self.activation = activation
        self.padded = same and stride == 2
        if self.padded:
            self.conv1.padding = (0, 0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and its activated input `o`."""
        o = self.activation(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(o)
        inner = self.conv1(F.pad(o, (0, 1, 0, 1)) if self.padded else o)
        return self.conv2(self.activation(self.bn2(inner))) + shortcut, o


class WideResNet(Network):
    """Stem, three stages, batch norm, activation, global average pool, linear. Taps as in PreActResNet.

    Its weights are named as PreActResNet's are.
    """

    def __init__(self, architecture: Architecture, *, activation: Activation = F.relu, same: bool = False) -> None:
        super().__init__(architecture)
        self.conv1 = conv(architecture.channels, STEM, 3)
        block = partial(WideBlock, activation=activation, same=same)
        stages = blocks_of(architecture, block, inputs=STEM)
        self.layers = nn.ModuleList(nn.ModuleList(blocks) for blocks in stages)
        self.bn = nn.BatchNorm2d(architecture.widths[-1])
        self.linear = nn.Linear(architecture.widths[-1], architecture.classes)
        self.activation = activation

    def features(self, images: Tensor) -> Features:
        x = self.conv1((images - self.mean) / self.std)
        x, taps = activated_outputs_of(self.layers, x)
        taps.append(self.activation(self.bn(x)))
        penultimate = pooled(taps[-1])
        return Features(self.linear(penultimate), tuple(taps), penultimate)
