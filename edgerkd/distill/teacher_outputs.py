"""What the teacher answers to each training image, asked once: an adversarial step need not wait for it."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from edgerkd.data.dataset import Split, to_float
from edgerkd.models.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedTeacherOutputs:
    """Of n images: `logits` (n, k), the logarithms of the scores; `penultimate` (n, d)."""

    logits: Tensor
    penultimate: Tensor

    def rows(self, rows: Tensor) -> "CachedTeacherOutputs":
        """What is remembered of these images."""
        return CachedTeacherOutputs(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})


@torch.no_grad()
def cache_teacher_outputs(
    teacher: Network, split: Split, *, batch: int, autocast: bool, after: Callable[[int], None]
) -> CachedTeacherOutputs:
    """Ask the teacher about each image as it is; `after` hears how many are done.

    A student that is shown a shifted or mirrored image learns what the teacher said to the image as it is: ours.
    The mean of the answers to an image and its mirror image cost twice as much and gained nothing (docs/sources.md).
    """
    logits: list[Tensor] = []
    penultimate: list[Tensor] = []
    for images in split.batches(batch):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
            answer = teacher.features(to_float(images))
        logits.append(answer.logits.float().log_softmax(1))
        penultimate.append(answer.penultimate.float())
        after(sum(map(len, logits)))
    return CachedTeacherOutputs(logits=torch.cat(logits), penultimate=torch.cat(penultimate))
