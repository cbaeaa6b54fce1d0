"""What a run is made of: enough to repeat it and to resume it."""

from dataclasses import dataclass

from edgerkd.core.architecture import Architecture, Cost
from edgerkd.core.profile import Profile
from edgerkd.core.recipe import Recipe
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(Record):
    """run.json. `data` is what --data named, `data_sha256` the images and labels it turned out to be."""

    schema: int
    data: str
    dataset: str
    data_sha256: str
    teacher: str | None
    teacher_sha256: str | None
    profile: Profile
    recipe: Recipe
    architecture: Architecture
    cost: Cost
    versions: dict[str, str]
    processes: int = 1
    """How many trained together: mixtures, covariances and Gram matrices are of each one's own part of a batch."""
