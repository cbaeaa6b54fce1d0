"""Learning rates over a run, as a share of the peak; `progress` is the share of its steps that are done, 0 to 1."""

import math

from edgerkd.core.recipe import Recipe


def one_cycle(progress: float, *, warmup: float) -> float:
    """Linear from 0 to 1 over `warmup`, then half a cosine to 0. Source: arXiv 1708.07120, fig. 1a."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def piecewise(progress: float, *, decay_at: tuple[float, ...]) -> float:
    """A tenth of the rate before from each share in `decay_at` on. Source: He et al. 2015, 1512.03385, section 4.2."""
    return 0.1 ** sum(progress >= share for share in decay_at)


def rate_share(progress: float, recipe: Recipe) -> float:
    """The share of each peak that the recipe's schedule gives."""
    if recipe.schedule == "piecewise":
        return piecewise(progress, decay_at=recipe.decay_at)
    return one_cycle(progress, warmup=recipe.warmup)
