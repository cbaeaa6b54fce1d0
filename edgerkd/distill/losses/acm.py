"""Activated channel maps. Source: MixACM, Awais et al., NeurIPS 2021, arXiv 2111.05073, figures 1 and 2."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def activated_channel_map(tap: Tensor) -> Tensor:
    """One value per channel (n, c) of a tap (n, c, h, w): the mean over space of the magnitude.

    The paper shows a map R^(C x H x W) -> R^C and not its formula; the mean magnitude is ours.
    """
    return tap.abs().mean((2, 3))


def acm_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the two maps (n, c), each scaled to length 1, mean over the batch; 0 to 4.

    The normalisation is ours: it makes the loss independent of the scale of either network.
    Raises ValueError for unequal shapes, which would otherwise broadcast.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student map {tuple(student.shape)} and teacher map {tuple(teacher.shape)} differ in shape")
    distance = F.normalize(student.float(), dim=1, eps=1e-8) - F.normalize(teacher.float(), dim=1, eps=1e-8)
    return distance.square().sum(1).mean()


def taps_loss(pairs: Iterable[tuple[nn.Module, Tensor, Tensor]]) -> Tensor:
    """The sum over (adapter, student tap, teacher tap) of the loss of their maps, the student's through the adapter."""
    losses: list[Tensor] = []
    for adapter, s, t in pairs:
        with torch.autocast(s.device.type, enabled=False):
            losses.append(acm_loss(adapter(activated_channel_map(s).float()), activated_channel_map(t)))
    return torch.stack(losses).sum()
