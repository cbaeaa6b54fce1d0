"""Augmentation of a whole batch at once, on the device it lives on; images are uint8 (n, c, h, w)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgerkd.data.dataset import Dataset


def augment(images: Tensor, dataset: Dataset, *, side: int, generator: torch.Generator) -> Tensor:
    """Cropped and mirrored as the data allow, then a square of `side` pixels cut out of each image."""
    augmentation = dataset.facts.augmentation
    images = random_crop(images, augmentation.crop, generator)
    if augmentation.flip:
        images = random_flip(images, generator)
    return cutout(images, side, dataset.mean, generator)


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each image shifted by its own -padding to +padding pixels, zeros coming in."""
    if padding == 0:
        return images
    n, channels, h, w = images.shape
    shift = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator).to(images.device, non_blocking=True)
    rows = torch.arange(h, device=images.device) + shift[0]
    image = torch.arange(n, device=images.device)
    # Whole rows of pixels are gathered, channels last: a row of width w begins at each pixel of a padded row.
    padded = F.pad(images, (padding,) * 4).movedim(1, 3).flatten(2)
    windows = padded.unfold(2, w * channels, channels)
    return windows[image[:, None], rows, shift[1]].unflatten(2, (w, channels)).movedim(3, 1)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    flip = torch.rand(len(images), generator=generator).to(images.device, non_blocking=True) < 0.5
    pixels = images.movedim(1, 3)  # as they lie in memory: chosen image by image, and not pixel by pixel
    chosen = torch.where(flip[:, None], pixels.flip(2).flatten(1), pixels.flatten(1))
    return chosen.view(pixels.shape).movedim(3, 1)


def cutout(images: Tensor, side: int, mean: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """In each image a square of `side` pixels, at its own place, filled with the data's `mean` colour in [0, 1].

    Its centre may be any pixel, so that it reaches over the border at times.
    Source: DeVries and Taylor 2017, arXiv 1708.04552, section 3.2.
    """
    if side == 0:
        return images
    n, _, h, w = images.shape
    top = torch.randint(0, h, (n, 1), generator=generator).to(images.device, non_blocking=True) - side // 2
    left = torch.randint(0, w, (n, 1), generator=generator).to(images.device, non_blocking=True) - side // 2
    rows, columns = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    within_rows, within_columns = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
    colour = torch.tensor(mean, device=images.device).mul(255).round().to(images.dtype)
    hole = within_rows[:, None, :, None] & within_columns[:, None, None, :]
    return torch.where(hole, colour[:, None, None], images)
