"""What a run is made of: enough to repeat it and to resume it."""

from dataclasses import dataclass

from edgerkd.core.architecture import Architecture, Cost
from edgerkd.core.data_request import DataFacts, DataRequest
from edgerkd.core.method import MethodFacts
from edgerkd.core.profile import Profile
from edgerkd.core.ranges import Count, Name, Sha256
from edgerkd.core.recipe import Recipe
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(Record):
    """run.json. `request` is what was asked of the data, `data` what they turned out to be.

    `method` says what the recipe's method is, for whoever reads the run where that method is not installed.
    """

    SCHEMA = 1

    request: DataRequest
    data: DataFacts
    teacher: Name | None
    teacher_sha256: Sha256 | None
    profile: Profile
    recipe: Recipe
    method: MethodFacts
    architecture: Architecture
    cost: Cost
    versions: dict[str, str]
    processes: Count = 1
    """How many trained together: mixtures, covariances and Gram matrices are of each one's own part of a batch."""
