"""How accurate a network or engine is, clean and under attack, as plain data."""

from dataclasses import dataclass
from typing import Literal

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture, Cost
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel

Source = Literal["replay", "direct", "query"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Record):
    """One attack. `source` says where its examples came from: stored, gradients of the thing itself, or queries."""

    attack: str
    source: Source
    robust_acc: Accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Record):
    """One network on one split. `robust_acc` is the worst case per image over `rows`, then the mean."""

    schema: int
    name: str
    architecture: Architecture
    cost: Cost
    split: str
    n: int
    clean_acc: Accuracy
    robust_acc: Accuracy
    rows: tuple[Row, ...]
    flags: tuple[str, ...]
    threat_model: ThreatModel
    seed: int
