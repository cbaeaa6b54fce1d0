"""What a verdict asks of an engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.errors import ConfigError, MissingGatesError, UnknownNameError
from edgerkd.core.profile import Budget, Profile
from edgerkd.core.ranges import Name, Share
from edgerkd.core.record import Record

GATES = ("clean_acc", "robust_acc", "retention")
"""What a gate can be about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceResult(Record):
    """What the host measured on the bundle's samples, with the model in float32, and its teacher if it has one.

    `attacks` are the ids of what both were attacked with.
    """

    clean_acc: Accuracy
    robust_acc: Accuracy
    attacks: tuple[Name, ...]
    teacher_clean_acc: Accuracy | None = None
    teacher_robust_acc: Accuracy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement(Record):
    """Thresholds, each a fraction 0 to 1 that the whole interval must reach, and a budget. None: not asked."""

    min_clean_acc: Share | None = None
    min_robust_acc: Share | None = None
    min_retention: Share | None = None
    budget: Budget = field(default_factory=Budget)

    @property
    def gates(self) -> dict[str, float]:
        """What is asked of each gate, by its name."""
        asked = zip(GATES, (self.min_clean_acc, self.min_robust_acc, self.min_retention), strict=True)
        return {name: required for name, required in asked if required is not None}

    @property
    def asks_accuracy(self) -> bool:
        return self.min_clean_acc is not None or self.min_robust_acc is not None


def required_by(profile: Profile, reference: ReferenceResult | None, *, floor: float) -> Requirement:
    """A profile's gates on one bundle: shares of what the teacher reached, but never below `floor`.

    Without a teacher there is nothing to take a share of, and without a reference nothing to retain.
    """
    gates = profile.gates
    clean = None if reference is None else reference.teacher_clean_acc
    robust = None if reference is None else reference.teacher_robust_acc
    return Requirement(
        min_clean_acc=None if clean is None else max(floor, gates.clean_acc_of_teacher * clean.value),
        min_robust_acc=None if robust is None else max(floor, gates.robust_acc_of_teacher * robust.value),
        min_retention=None if reference is None else gates.retention,
        budget=profile.budget,
    )


def no_lower(requirement: Requirement, floor: float) -> Requirement:
    """The same, and what it asks of an accuracy no lower than `floor`: a gate that chance passes is none."""
    asked = {"min_clean_acc": requirement.min_clean_acc, "min_robust_acc": requirement.min_robust_acc}
    return replace(requirement, **{name: max(floor, value) for name, value in asked.items() if value is not None})


def combined(first: Requirement, *others: Requirement | None) -> Requirement:
    """Where a later one asks something, it counts instead of an earlier one."""
    for other in others:
        if other is not None:
            asked = {name: getattr(other, name) for name in ("min_clean_acc", "min_robust_acc", "min_retention")}
            first = replace(first, **{name: value for name, value in asked.items() if value is not None})
            if other.budget != Budget():
                first = replace(first, budget=other.budget)
    return first


def check_asked(requirement: Requirement) -> None:
    """Raises MissingGatesError where nothing is asked that an attack could answer."""
    if not requirement.asks_accuracy:
        raise MissingGatesError(
            "No gate says what would be good enough: give --min-robust and --min-clean, like --min-robust 0.4, or take "
            "--measure, which gives the figures without a pass or a fail."
        )


def choose_profile(profiles: Sequence[Profile], name: str | None) -> Profile | None:
    """The bundle's profile of that name, or its first; None where it has none. Raises UnknownNameError."""
    if name is None:
        return profiles[0] if profiles else None
    for profile in profiles:
        if profile.name == name:
            return profile
    if not profiles:
        raise ConfigError(f"--profile {name}: this bundle was made for no device: leave it out, or name a file.")
    raise UnknownNameError("profile in this bundle", name, [profile.name for profile in profiles])
