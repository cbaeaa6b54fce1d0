"""Mixup. Source: Zhang et al. 2018, arXiv 1710.09412, section 2."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mixture:
    """`images` = lam * images_a + (1 - lam) * images_b, with the labels of both."""

    images: Tensor
    labels_a: Tensor
    labels_b: Tensor
    lam: Tensor


def mixup(images: Tensor, labels: Tensor, *, lam: Tensor, order: Tensor) -> Mixture:
    """Each image mixed with the one that `order`, a permutation of the batch (n,), has in its place.

    `lam` is one number, of double precision: of a number of the images' own the rest to 1 would be rounded.
    """
    return Mixture(lam * images + (1 - lam) * images[order], labels, labels[order], lam)


def mixup_loss(logits: Tensor, mixture: Mixture) -> Tensor:
    """lam CE(logits, labels_a) + (1 - lam) CE(logits, labels_b), mean over the batch."""
    a = F.cross_entropy(logits.float(), mixture.labels_a)
    b = F.cross_entropy(logits.float(), mixture.labels_b)
    return (mixture.lam * a + (1 - mixture.lam) * b).to(a.dtype)
