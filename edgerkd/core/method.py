"""What is said of a training method where it is not at hand, as plain data."""

from dataclasses import dataclass

from edgerkd.core.ranges import Name
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFacts(Record):
    """A method's name, what it does in one line, and where it comes from."""

    name: Name
    description: str
    sources: tuple[str, ...]
