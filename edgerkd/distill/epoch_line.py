"""What training says after an epoch, and whether it has collapsed."""

from edgerkd.core.epoch import Epoch
from edgerkd.core.recipe import Recipe
from edgerkd.core.units import duration


def epoch_line(epoch: Epoch, recipe: Recipe, best: float) -> str:
    """One line on an epoch, with the time left, and a word where training has collapsed from its `best`."""
    left = (recipe.epochs - epoch.epoch) * epoch.seconds
    line = (
        f"{recipe.method}: epoch {epoch.epoch}/{recipe.epochs}, validation {epoch.val_clean_acc:.1%} clean, "
        f"{epoch.val_robust_acc:.1%} under attack, {duration(epoch.seconds)}, about {duration(left)} left"
    )
    if not collapsed(epoch.val_robust_acc, best):
        return line
    return (
        f"{line}; it was {best:.1%} under attack: the training has collapsed, and the better epoch is kept. If it "
        "does not recover, start again with fewer --epochs, or with a method of several attack steps (--method rslad)"
    )


def collapsed(robust_acc: float, best: float) -> bool:
    """Whether a robust accuracy has fallen to less than half of the best, by more than ten points.

    Training on single steps can learn to resist these and nothing else, from one epoch to the next (Wong et al. 2020,
    arXiv 2001.03994). Half, and ten points, are ours.
    """
    return robust_acc < best / 2 and best - robust_acc > 0.1
