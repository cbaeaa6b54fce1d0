"""RepVGG: three branches in training, one plain 3 x 3 convolution after folding.

Source: Ding et al. 2021, arXiv 2101.03697, sections 3.2 and 3.3.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from edgerkd.core.architecture import Architecture
from edgerkd.models.network import Features, Network, conv, pooled, stem_stride
from edgerkd.models.stages import blocks_of, outputs_of


class RepVGGBlock(nn.Module):
    """relu(bn3(conv3(x)) + bn1(conv1(x)) + bn0(x)); without the last where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv3, self.bn3 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv1, self.bn1 = conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
        self.bn0 = nn.BatchNorm2d(outputs) if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn3(self.conv3(x)) + self.bn1(self.conv1(x))
        return F.relu(out if self.bn0 is None else out + self.bn0(x))

    def folded(self) -> nn.Module:
        """The one convolution and ReLU that this block is in evaluation mode. Source: section 3.3, figure 4."""
        wide, point = self.conv3.weight, F.pad(self.conv1.weight, (1, 1, 1, 1))
        branches = [_fold(wide, self.bn3), _fold(point, self.bn1)]
        if self.bn0 is not None:
            identity = torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
            branches.append(_fold(F.pad(identity[:, :, None, None], (1, 1, 1, 1)), self.bn0))
        weights, biases = zip(*branches, strict=True)
        one = nn.Conv2d(wide.shape[1], len(wide), 3, self.conv3.stride[0], padding=1, device=wide.device)
        one.weight, one.bias = nn.Parameter(torch.stack(weights).sum(0)), nn.Parameter(torch.stack(biases).sum(0))
        return nn.Sequential(one, nn.ReLU())


def _fold(weight: Tensor, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution of this weight and the batch norm after it, in one."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    return fuse_conv_bn_weights(weight, None, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)


class RepVGG(Network):
    """Stem block, stages of blocks, global average pool, linear. Taps are the stage outputs, after their ReLU."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        width = architecture.widths[0]
        self.stem: nn.Module = RepVGGBlock(architecture.channels, width, stem_stride(architecture))
        stages = blocks_of(architecture, RepVGGBlock, inputs=width)
        self.stages = nn.ModuleList(nn.Sequential(*blocks) for blocks in stages)
        self.linear = nn.Linear(architecture.widths[-1], architecture.classes)

    def features(self, images: Tensor) -> Features:
        x = self.stem((images - self.mean) / self.std)
        taps = outputs_of(self.stages, x)
        penultimate = pooled(taps[-1])
        return Features(self.linear(penultimate), taps, penultimate)

    def deployed(self) -> "RepVGG":
        network = deepcopy(self)
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, RepVGGBlock):
                    setattr(parent, name, child.folded())
        return network
