"""What is known of a teacher."""

from dataclasses import dataclass

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture
from edgerkd.core.by_class import ByClass, chance_of, floor_above
from edgerkd.core.errors import ConfigError
from edgerkd.core.ranges import Count, Name, Sha256
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherCard(Record):
    """A teacher in the cache. `origin` says where it came from; accuracies are on the `val` split named there.

    `weights_sha256` is of the weights as they are kept, `source_sha256` of the file they were imported from.
    """

    SCHEMA = 1

    name: Name
    dataset: Name
    data_sha256: Sha256
    origin: str
    architecture: Architecture
    threat_model: ThreatModel
    n: Count
    clean_acc: Accuracy
    robust_acc: Accuracy
    by_class: ByClass
    weights_sha256: Sha256
    source_sha256: Sha256 | None = None
    accepted_fragile: bool = False
    """Whoever imported it took it although it resists nothing."""


def check_robust(card: TeacherCard) -> None:
    """Raises ConfigError for a teacher that knows little more than the commonest class, or resists nothing."""
    if card.accepted_fragile:
        return
    chance = chance_of(card.by_class)
    measured = f"clean {card.clean_acc}, robust {card.robust_acc} under {card.threat_model}, {card.n} images"
    if card.clean_acc.low <= floor_above(chance):
        raise ConfigError(
            f"Teacher {card.name} is near chance ({measured}; always answering the most common class gives "
            f"{chance:.1%}): train it for longer, on more images, or with another method."
        )
    if card.robust_acc.low <= chance:
        raise ConfigError(
            f"Teacher {card.name} is not robust ({measured}; always answering the most common class gives "
            f"{chance:.1%}): a student would learn no robustness from it. Use a smaller --eps, train it for "
            "longer, or, to import it anyway, add --accept-fragile."
        )
