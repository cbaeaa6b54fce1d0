"""Mixup. Source: Zhang et al. 2018, arXiv 1710.09412, section 2."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mixture:
    """`images` = lam * images_a + (1 - lam) * images_b, with the labels of both."""

    images: Tensor
    labels_a: Tensor
    labels_b: Tensor
    lam: float


def mixup(images: Tensor, labels: Tensor, *, lam: float, generator: torch.Generator) -> Mixture:
    """Each image mixed with another of the batch, drawn by a random permutation.

    One number is drawn from `generator` however many images there are: its later draws, which order the
    data, do not depend on the processes that share a batch.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).to(images.device)
    return Mixture(lam * images + (1 - lam) * images[order], labels, labels[order], lam)


def mixup_loss(logits: Tensor, mixture: Mixture) -> Tensor:
    """lam CE(logits, labels_a) + (1 - lam) CE(logits, labels_b), mean over the batch."""
    a = F.cross_entropy(logits.float(), mixture.labels_a)
    b = F.cross_entropy(logits.float(), mixture.labels_b)
    return mixture.lam * a + (1 - mixture.lam) * b
