"""What training says of itself after each epoch."""

from dataclasses import dataclass
from typing import Annotated

from edgerkd.core.ranges import Count, Share, Weight, Within
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch(Record):
    """One line of metrics.jsonl. `terms` are means over the epoch; accuracies are of the averaged weights on `val`.

    `lr` is SGD's at the last step. `val_within_share_gap` is by how much the attack raises the within-class share of
    the variance of features, of the images answered right there (distill/variance_gap.py); None where fewer than two
    are right, and in runs from before it was noted.
    """

    epoch: Count
    terms: dict[str, float]
    val_clean_acc: Share
    val_robust_acc: Share
    lr: Weight
    seconds: Weight
    images_per_second: Weight
    val_within_share_gap: Annotated[float, Within(-1, 1)] | None = None
