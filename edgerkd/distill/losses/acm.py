"""Maps of a stage's output, student against teacher.

Channel maps are MixACM's: Awais et al., NeurIPS 2021, arXiv 2111.05073, figures 1 and 2. Spatial maps are ours.
"""

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgerkd.models.network import pooled

Maps = Literal["channel", "spatial"]
"""What of a tap is compared: one value per channel, or one per channel and place."""


def activated_channel_map(tap: Tensor) -> Tensor:
    """One value per channel (n, c) of a tap (n, c, h, w): the mean over space of the magnitude.

    The paper shows a map R^(C x H x W) -> R^C and not its formula; the mean magnitude is ours.
    """
    return pooled(tap.abs())


def acm_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the two maps (n, ...), each scaled to length 1, mean over the batch; 0 to 4.

    The normalisation is ours: it makes the loss independent of the scale of either network.
    Raises ValueError for unequal shapes, which would otherwise broadcast.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student map {tuple(student.shape)} and teacher map {tuple(teacher.shape)} differ in shape")
    own, their = (F.normalize(m.float().flatten(1), dim=1, eps=1e-8) for m in (student, teacher))
    return (own - their).square().sum(1).mean()


def channel_loss(adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    """The loss of the channel maps of two taps (n, c, h, w), the student's through the adapter."""
    with torch.autocast(student.device.type, enabled=False):
        return acm_loss(adapter(activated_channel_map(student).float()), activated_channel_map(teacher))


def spatial_loss(adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    """The loss of two whole taps (n, c, h, w), the student's through the adapter at each place; ours.

    Where their resolutions differ the finer is pooled to the coarser.
    """
    height, width = (min(own, their) for own, their in zip(student.shape[2:], teacher.shape[2:], strict=True))
    own, their = (_pooled(tap, height, width).permute(0, 2, 3, 1) for tap in (student, teacher))
    return acm_loss(adapter(own), their)


def _pooled(tap: Tensor, height: int, width: int) -> Tensor:
    return tap if tap.shape[2:] == (height, width) else F.adaptive_avg_pool2d(tap, (height, width))


def taps_loss(pairs: Iterable[tuple[nn.Module, Tensor, Tensor]], maps: Maps = "channel") -> Tensor:
    """The sum over (adapter, student tap, teacher tap) of the loss of their maps."""
    loss = channel_loss if maps == "channel" else spatial_loss
    return torch.stack([loss(*pair) for pair in pairs]).sum()
