"""What the teacher answers to each training image, asked once: an adversarial step need not wait for it."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from edgerkd.data.dataset import Split, to_float
from edgerkd.models.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherMemory:
    """Of n images: `logits` (n, k), the logarithms of the mean score over an image's views; `penultimate` (n, d)."""

    logits: Tensor
    penultimate: Tensor

    def rows(self, rows: Tensor) -> "TeacherMemory":
        """What is remembered of these images."""
        return TeacherMemory(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})


@torch.no_grad()
def remember(
    teacher: Network, split: Split, *, flip: bool, batch: int, autocast: bool, after: Callable[[int], None]
) -> TeacherMemory:
    """Ask the teacher about each image as it is, and with `flip` mirrored too; `after` hears how many are done.

    A student that is shown a shifted image learns what the teacher said to the image as it is: the mean of
    two views is the more accurate answer, and a shift does not change what can be seen. The penultimate
    features are those of the image as it is: a mean of two would vary less than the teacher's do. Ours.
    """
    logits: list[Tensor] = []
    penultimate: list[Tensor] = []
    for images in split.images.split(batch):
        views = [images, images.flip(3)] if flip else [images]
        with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
            answers = [teacher.features(to_float(view)) for view in views]
        scores = torch.stack([a.logits.float().softmax(1) for a in answers]).mean(0)
        logits.append(scores.clamp_min(torch.finfo(torch.float32).tiny).log())
        penultimate.append(answers[0].penultimate.float())
        after(sum(map(len, logits)))
    return TeacherMemory(logits=torch.cat(logits), penultimate=torch.cat(penultimate))
