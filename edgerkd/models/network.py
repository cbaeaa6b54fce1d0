"""What every network here offers: images in [0, 1] to logits, and on request its features."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgerkd.core.architecture import LARGE, Architecture


class Features(NamedTuple):
    """`logits` (n, k); `taps`, one activated map (n, c, h, w) a stage; `penultimate` (n, d)."""

    logits: Tensor
    taps: tuple[Tensor, ...]
    penultimate: Tensor


class Network(nn.Module):
    """A classifier that normalises its own input. A family fills in `features`."""

    mean: Tensor
    std: Tensor
    folds = True
    """Whether its batch norms can be folded into its convolutions."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.register_buffer("mean", torch.tensor(architecture.mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(architecture.std).reshape(1, -1, 1, 1))

    def features(self, images: Tensor) -> Features:
        """All features of float images (n, c, h, w) in [0, 1]."""
        raise NotImplementedError

    def deployed(self) -> "Network":
        """The same function of images in evaluation mode, as it is exported: without what only training needs."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, k) of float images (n, c, h, w) in [0, 1]."""
        return self.features(images).logits


def pooled(maps: Tensor) -> Tensor:
    """The mean of maps (n, c, h, w) over their places: (n, c).

    The gradient of `maps.mean((2, 3))` is not in channels_last, and all before it would be the slower for it. A graph
    that is being exported has that one operation all the same.
    """
    return maps.mean((2, 3)) if torch.onnx.is_in_onnx_export() else maps.movedim(1, 3).flatten(1, 2).mean(1)


def conv(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the resolution at stride 1, without bias (a batch norm follows or precedes)."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)


def stem_stride(architecture: Architecture) -> int:
    """The stride of a network's first convolution: 2 for large images, 1 for those of CIFAR's kind."""
    return 2 if architecture.height >= LARGE else 1
