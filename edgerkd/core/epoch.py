"""What training says of itself after each epoch."""

from dataclasses import dataclass

from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch(Record):
    """One line of metrics.jsonl. `terms` are means over the epoch; accuracies are of the averaged weights on `val`."""

    epoch: int
    terms: dict[str, float]
    val_clean_acc: float
    val_robust_acc: float
    lr: float
    seconds: float
    images_per_second: float
