"""Augmentation of a whole batch at once, on the device it lives on."""

import torch
import torch.nn.functional as F
from torch import Tensor


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each image (n, c, h, w) shifted by its own -padding to +padding pixels, zeros coming in."""
    if padding == 0:
        return images
    n, _, h, w = images.shape
    padded = F.pad(images, (padding,) * 4)
    shift = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator).to(images.device)
    rows = torch.arange(h, device=images.device) + shift[0]
    columns = torch.arange(w, device=images.device) + shift[1]
    image = torch.arange(n, device=images.device)
    # Indexing by (n, h, w) puts the channel axis last.
    return padded[image[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    flip = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    return torch.where(flip[:, None, None, None], images.flip(3), images)
