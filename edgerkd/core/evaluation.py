"""How accurate a network or engine is, clean and under attack, as plain data."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture, Cost
from edgerkd.core.by_class import ByClass
from edgerkd.core.flag import Flag
from edgerkd.core.ranges import Amount, Count, Name
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel

Source = Literal["noise", "replay", "transfer", "direct", "query"]

MADE_HERE: frozenset[Source] = frozenset({"direct", "query"})
"""What was made against the thing itself: without such a row nothing is known of weaknesses that it alone has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Record):
    """One attack, by its id: edgerkd/attacks/words.py has its title.

    `source` says where its examples came from: random points, stored ones of the model itself or of other networks,
    gradients of the thing itself, or queries. A transfer's id names the other network: `transfer:teacher`.
    """

    attack: Name
    source: Source
    robust_acc: Accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Record):
    """One network on `n` images `of` a split's. `robust_acc` is the worst case per image over `rows`, then the mean.

    `seed` is of the attacks, and of the sample where `n` is less than `of`: each class has its share in it. `gradients`
    are what led the attacks; what they found was judged in float32.
    """

    SCHEMA = 1

    name: Name
    architecture: Architecture
    cost: Cost
    split: Name
    n: Count
    of: Count
    clean_acc: Accuracy
    robust_acc: Accuracy
    by_class: ByClass
    rows: tuple[Row, ...]
    flags: tuple[Flag, ...]
    threat_model: ThreatModel
    seed: Amount
    gradients: Literal["float32", "bfloat16"] = "float32"
