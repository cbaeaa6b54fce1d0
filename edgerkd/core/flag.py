"""A reason for doubt, as facts: the words are made where it is shown (edgerkd/attacks/words.py)."""

from dataclasses import dataclass

from edgerkd.core.ranges import Name
from edgerkd.core.record import Record

Fact = int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Record):
    """Which doubt it is, by its kind's `id`, and the figures that raised it."""

    id: Name
    facts: dict[str, Fact]
