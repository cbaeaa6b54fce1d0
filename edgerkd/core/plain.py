"""The plain question, asked before any attack: how accurate is the engine, and does it differ from the model?"""

from dataclasses import dataclass

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.by_class import chance_among, floor_above
from edgerkd.core.flag import Flag
from edgerkd.core.ranges import Amount, Count, Name, Share, Weight
from edgerkd.core.record import Record

UNLIKELY = 0.05
"""Chance of so uneven a split between two equally accurate networks below which they are called different. Custom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDifference(Record):
    """The first layer whose output is not the model's: the `place`-th `of` those that both have by one name.

    `share` is |engine's - model's| / |model's| over all images that were looked at.
    """

    layer: Name
    kind: Name
    place: Count
    of: Count
    share: Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison(Record):
    """Engine and model, which is the bundle's graph in float32, on the same images.

    `engine_alone` and `model_alone` are images that only one of them answers right, `same_answer` is how often both
    say the same. `chance` is McNemar's: that of so uneven a split, or one more so, between equally accurate networks.
    """

    model_acc: Accuracy
    engine_alone: Amount
    model_alone: Amount
    same_answer: Share
    chance: Share

    @property
    def differs(self) -> bool:
        """Whether engine and model are not equally accurate."""
        return self.chance < UNLIKELY


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAnswers(Record):
    """One class: the engine's accuracy, and the model's on the same images where it was asked."""

    name: Name
    engine_acc: Accuracy
    model_acc: Accuracy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainAnswer(Record):
    """The engine's accuracy on the images that are judged, and what it has to do with the model's.

    `model` is None where the model could not be run here. `causes` are what may make a difference, `layer` where it
    begins, if that could be read.
    """

    engine_acc: Accuracy
    classes: tuple[ClassAnswers, ...]
    model: ModelComparison | None
    causes: tuple[Flag, ...]
    layer: LayerDifference | None

    @property
    def floor(self) -> float:
        """What no gate may be below: a little above always answering the commonest class of the images judged."""
        if not self.classes:
            return 0.0
        return floor_above(chance_among(each.engine_acc.n for each in self.classes))
