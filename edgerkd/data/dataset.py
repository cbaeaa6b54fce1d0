"""A data set in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgerkd.core.architecture import Architecture, Family
from edgerkd.core.threat import ThreatModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """`images` uint8 (n, c, h, w); `labels` int64 (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """The same split on another device."""
        return Split(images=self.images.to(device), labels=self.labels.to(device))

    def head(self, n: int) -> "Split":
        """The first `n` images."""
        return Split(images=self.images[:n], labels=self.labels[:n])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Three splits that share no image: `train` to learn from, `val` to choose by, `test` to report.

    `crop` is the padding, in pixels, of the random crop; `flip` whether mirroring keeps the class.
    `sha256` is of all images and labels, in order. `threat_model` is the field's usual one for these data.
    """

    name: str
    classes: int
    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    threat_model: ThreatModel
    crop: int
    flip: bool
    sha256: str

    def architecture(self, family: Family, *, widths: Sequence[int], blocks: Sequence[int]) -> Architecture:
        """A network of that family for these images, classes and moments."""
        channels, height, width = self.train.images.shape[1:]
        return Architecture(
            family=family,
            widths=tuple(widths),
            blocks=tuple(blocks),
            channels=channels,
            height=height,
            width=width,
            classes=self.classes,
            mean=self.mean,
            std=self.std,
        )


def to_float(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1], channels_last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)
