"""When and how a verification was made."""

from dataclasses import dataclass, field

from edgerkd.core.ranges import Name
from edgerkd.core.record import Record
from edgerkd.core.requirement import Requirement


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances(Record):
    """`time` is when it ended, UTC, in ISO 8601; `versions` are of edgerkd and what it computes with.

    `power_mode` is the machine's, where it tells. `asked` is what the verifier required beside the bundle's own gates.
    """

    time: Name
    versions: dict[str, str]
    power_mode: Name | None
    asked: Requirement = field(default_factory=Requirement)
