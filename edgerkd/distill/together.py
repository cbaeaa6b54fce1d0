"""Operations on many tensors in one call, as torch's own optimisers and averages make them: on a GPU in one kernel."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_torch: Any = torch  # Any: these are not in torch's stubs


def move(tensors: Sequence[Tensor], targets: Sequence[Tensor], share: float) -> None:
    """Each tensor, in place, this share of the way to its target."""
    _torch._foreach_lerp_(tensors, targets, share)


def between(tensors: Sequence[Tensor], targets: Sequence[Tensor], share: float) -> list[Tensor]:
    """Points this share of the way from each tensor to its target."""
    return _torch._foreach_lerp(tensors, targets, share)


def scale(tensors: Sequence[Tensor], factor: float) -> None:
    """Each tensor, in place, times this factor."""
    _torch._foreach_mul_(tensors, factor)
