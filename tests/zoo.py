"""Small networks and data whose answers are known."""

from collections.abc import Callable

import numpy as np
import torch
from array_api_compat import array_namespace
from torch import Tensor

from edgerkd.core.architecture import Architecture
from edgerkd.core.data_request import Augmentation, DataFacts, Preprocessing
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset, Split
from edgerkd.models.build import build
from edgerkd.models.network import Network


class LinearToy:
    """logits = images @ weight, on any array library: its worst case under L-inf has a closed form."""

    def __init__(self, weight) -> None:
        self.weight = weight

    def logits(self, images):
        xp = array_namespace(images)
        return xp.reshape(images, (images.shape[0], -1)) @ self.weight

    def gradient(self, images, cotangent: Callable):
        xp = array_namespace(images)
        logits = self.logits(images)
        return logits, xp.reshape(cotangent(logits) @ self.weight.T, images.shape)


def architecture(family: str = "resnet", **changes) -> Architecture:
    given = {
        "family": family,
        "widths": (8, 16),
        "blocks": (1, 2),
        "channels": 1,
        "height": 8,
        "width": 8,
        "classes": 10,
        "mean": (0.3,) * changes.get("channels", 1),
        "std": (0.4,) * changes.get("channels", 1),
    }
    return Architecture(**{**given, **changes})


def network(seed: int = 0, **changes) -> Network:
    """A network with random weights and batch-norm statistics that are not the initial ones, in evaluation mode."""
    torch.manual_seed(seed)
    found = build(architecture(**changes))
    shape = found.architecture.image_shape
    found.train()
    with torch.no_grad():
        for _ in range(3):
            found(torch.rand(16, *shape))
    return found.eval()


THREAT = ThreatModel(norm="Linf", eps=Radius("16/255"))


def split(images: Tensor, labels: Tensor) -> Split:
    """Images uint8 (n, c, h, w) with their labels."""
    n = len(labels)
    return Split(
        pixels=images.permute(0, 2, 3, 1).contiguous(), rows=torch.arange(n), labels=labels, index=np.arange(n)
    )


def dataset(n: int = 96, classes: int = 3, size: int = 8, channels: int = 1) -> Dataset:
    """Classes told apart by where a bright bar stands: learned in an epoch or two."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, classes, n))
    images = torch.from_numpy(rng.integers(0, 60, (n, channels, size, size), dtype=np.uint8))
    for index, label in enumerate(labels.tolist()):
        images[index, :, label * 2 : label * 2 + 2] = 220
    third = n // 3
    train, val, test = (
        split(images[rows], labels[rows])
        for rows in (slice(None, third), slice(third, 2 * third), slice(2 * third, None))
    )
    facts = DataFacts(
        name="bars",
        sha256="0" * 64,
        classes=tuple(f"bar {number}" for number in range(classes)),
        train=len(train),
        val=len(val),
        test=len(test),
        per_class=tuple(torch.bincount(train.labels, minlength=classes).tolist()),
        preprocessing=Preprocessing(size=None, fit="crop", alpha="refuse", channels=channels),
        augmentation=Augmentation(crop=0, flip=False),
    )
    return Dataset(train=train, val=val, test=test, mean=(0.3,) * channels, std=(0.3,) * channels, facts=facts)
