"""What a verification is about, settled before any image is attacked."""

from dataclasses import dataclass

from edgerkd.core.flag import Flag
from edgerkd.core.origin import Origins
from edgerkd.core.profile import Profile
from edgerkd.core.requirement import Requirement


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is required, by whom, and what is drawn; with `measure` there is no verdict, and nothing is required.

    `notices` are to be told; `doubts` are those of them by which nothing passes: that the attack over-reports. With
    `full` every image is judged. `seed` is that of the attacks; `probe_seed` says in which order images are drawn, and
    where gradients and masking are looked for: no bundle foresees it.
    """

    profile: Profile | None
    requirement: Requirement
    measure: bool
    full: bool
    origins: Origins
    notices: tuple[Flag, ...]
    doubts: tuple[Flag, ...]
    seed: int
    probe_seed: int
