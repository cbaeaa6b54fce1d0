"""A data set as tensors: pixels stay where they are, in memory or a mapped file, and batches are gathered from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from edgerkd.core.architecture import Architecture, Family
from edgerkd.core.data_request import Augmentation, DataFacts, DataRequest, Preprocessing
from edgerkd.data.known import KNOWN
from edgerkd.data.samples import Checked, Ints, Samples, samples_sha256
from edgerkd.data.split import draw

_MOMENTS = 4000  # images that mean and standard deviation are taken of, spread over all: exact to three digits; ours
_BATCH = 256
_DEVICE_SHARE = 0.5  # of a GPU's free memory, that images may take; ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """n images: the `rows` (n,) of `pixels` uint8 (N, h, w, c), with `labels` int64 (n,).

    `index` (n,) says which images of the whole split these are: it decides their random numbers in attacks. Batches
    are on the labels' device; pixels may lie elsewhere, shared by several splits.
    """

    pixels: Tensor
    rows: Tensor
    labels: Tensor
    index: Ints

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        height, width, channels = self.pixels.shape[1:]
        return channels, height, width

    def batch(self, rows: Tensor) -> Tensor:
        """These of the n images, uint8 (k, c, h, w), channels last in memory."""
        found = self.pixels[self.rows[rows].to(self.pixels.device)]
        return found.to(self.labels.device).permute(0, 3, 1, 2)

    @property
    def images(self) -> Tensor:
        """All of them, copied: for splits that fit into memory."""
        return self.batch(torch.arange(len(self), device=self.rows.device))

    def batches(self, size: int) -> Iterator[Tensor]:
        """All of them in order, `size` at a time."""
        for rows in torch.arange(len(self), device=self.rows.device).split(size):
            yield self.batch(rows)

    def take(self, rows: Ints) -> "Split":
        """Those at these places among the n."""
        where = torch.from_numpy(rows).to(self.rows.device)
        return replace(self, rows=self.rows[where], labels=self.labels[where], index=self.index[rows])

    def sample(self, n: int | None, *, seed: int) -> "Split":
        """`n` of them, or all, drawn by class (data/split.py), in random order."""
        labels = self.labels.cpu().numpy()
        return self.take(draw(labels, len(self) if n is None else n, seed=seed))

    def to(self, device: torch.device) -> "Split":
        """The same on a device. On a GPU that has room for them the images are copied there, once."""
        moved = replace(self, rows=self.rows.to(device), labels=self.labels.to(device))
        size = len(self) * self.pixels[0].numel()
        if device.type != "cuda" or size > _DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
            return replace(moved, rows=self.rows) if device.type == "cuda" else moved
        rows = torch.arange(len(self), device=device)
        return replace(moved, pixels=self.pixels[self.rows.to(self.pixels.device)].to(device), rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Three splits that share no image: `train` to learn from, `val` to choose by, `test` to report.

    `mean` and `std` are per channel, of images in [0, 1]; `facts` is what was read and what training does to it.
    """

    train: Split
    val: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    facts: DataFacts

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def sha256(self) -> str:
        """Of all images and labels, in order."""
        return self.facts.sha256

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.facts.classes

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.facts.classes)

    def architecture(self, family: Family, *, widths: Sequence[int], blocks: Sequence[int]) -> Architecture:
        """A network of that family for these images, classes and moments."""
        channels, height, width = self.train.image_shape
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


def dataset_from_checked(data: Checked, request: DataRequest) -> Dataset:
    """Checked images as tensors, with the augmentation that suits them.

    Mirroring is on where the data are known to bear it, or the user says so: a mirrored road sign is another one.
    """
    assert data.val is not None
    assert data.test is not None
    splits = [_split(samples) for samples in (data.train, data.val, data.test)]
    train, val, test = splits
    channels, height, width = train.image_shape
    known = KNOWN.get(request.source)
    crop = known.crop if known is not None and known.crop is not None else min(height, width) // 8
    flip = request.flip if request.flip is not None else known is not None and known.flip
    facts = DataFacts(
        name=data.name,
        sha256=samples_sha256((data.train, data.val, data.test)),
        classes=data.classes,
        train=len(train),
        val=len(val),
        test=len(test),
        per_class=tuple(np.bincount(data.train.labels, minlength=len(data.classes)).tolist()),
        preprocessing=Preprocessing(size=data.size, fit=request.fit, alpha=request.alpha, channels=channels),
        augmentation=Augmentation(crop=crop, flip=flip),
    )
    mean, std = moments(train)
    return Dataset(train=train, val=val, test=test, mean=mean, std=std, facts=facts)


def moments(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of images in [0, 1], rounded to four digits; the latter above 0."""
    rows = torch.linspace(0, len(split) - 1, min(len(split), _MOMENTS)).long()
    total = squares = torch.zeros(split.image_shape[0], dtype=torch.float64)
    for part in rows.split(_BATCH):
        images = split.batch(part).double().div(255)
        total, squares = total + images.mean((0, 2, 3)) * len(part), squares + (images**2).mean((0, 2, 3)) * len(part)
    mean = total / len(rows)
    std = (squares / len(rows) - mean**2).clamp(min=0).sqrt()
    return tuple(round(float(m), 4) for m in mean), tuple(round(max(float(s), 1e-3), 4) for s in std)


def to_float(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1], channels_last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def _split(samples: Samples) -> Split:
    return Split(
        pixels=torch.from_numpy(samples.pixels),
        rows=torch.from_numpy(samples.rows),
        labels=torch.from_numpy(samples.labels),
        index=np.arange(len(samples)),
    )
