"""Thresholds that chance would reach: said when a bundle is made, for `verify` raises them (verify/asking.py)."""

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.by_class import chance_among, floor_above
from edgerkd.core.progress import Progress
from edgerkd.core.requirement import Requirement


def say_floor(requirement: Requirement, labels: NDArray[np.int64], progress: Progress) -> None:
    """Which thresholds are too low to count as they are on images of these labels."""
    chance = chance_among(np.bincount(labels).tolist())
    floor = floor_above(chance)
    for name, flag in (("clean_acc", "--min-clean"), ("robust_acc", "--min-robust")):
        if requirement.gates.get(name, 1.0) < floor:
            progress.say(
                f"note: {flag} {requirement.gates[name]:g} counts as {floor:.1%}: always answering the commonest class "
                f"is right on {chance:.1%} of these images. Only what is asked of `edgerkd verify` may be lower."
            )
