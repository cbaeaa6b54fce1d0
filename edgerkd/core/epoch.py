"""What training says of itself after each epoch."""

from dataclasses import dataclass

from edgerkd.core.ranges import Count, Share, Weight
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch(Record):
    """One line of metrics.jsonl. `terms` are means over the epoch; accuracies are of the averaged weights on `val`.

    `lr` is SGD's at the last step. `val_variance_gap` is the relative gap between the images answered right there and
    the same attacked (distill/variance_gap.py); None where fewer than two are right, and in runs from before it was
    noted.
    """

    epoch: Count
    terms: dict[str, float]
    val_clean_acc: Share
    val_robust_acc: Share
    lr: Weight
    seconds: Weight
    images_per_second: Weight
    val_variance_gap: float | None = None
