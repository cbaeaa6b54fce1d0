"""Who asks what of an engine, and who of them counts."""

from dataclasses import dataclass, replace

from edgerkd.core.errors import MissingGatesError
from edgerkd.core.manifest import Manifest
from edgerkd.core.origin import Asker, askers
from edgerkd.core.profile import Budget, Profile
from edgerkd.core.requirement import Requirement, check_asked, combined, no_lower, required_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The bundle's profile asks first, then its maker, then a profile that the verifier brings, then the caller.

    A later one counts. Another radius than the bundle's (`own_radius`) leaves no robust accuracy asked but the caller's
    own: all other thresholds were set for the bundle's radius, and so was what retention is of.
    """

    manifest: Manifest
    profile: Profile | None
    own_profile: bool
    own_radius: bool
    caller: Requirement | None

    def check(self) -> None:
        """Raises MissingGatesError where nothing is asked that an attack could answer, at another radius no less."""
        required = self.required(floor=0.0)
        check_asked(required)
        if self.own_radius and required.min_robust_acc is None:
            raise MissingGatesError(
                "--eps: no gate says what would be good enough at another radius than the bundle's, for which its own "
                "thresholds were set: give --min-robust, like --min-robust 0.4, or take --measure."
            )

    def required(self, *, floor: float) -> Requirement:
        """All of it; what the caller did not ask of an accuracy is never below `floor`."""
        return combined(Requirement(), *(requirement for _, requirement in self._parts(floor=floor)))

    def askers(self) -> dict[str, Asker]:
        """Who asks each gate and limit."""
        return askers(*self._parts(floor=0.0))

    def _parts(self, *, floor: float) -> list[tuple[Asker, Requirement]]:
        profile, maker = self._profile(floor), self.manifest.requirement
        made: list[tuple[Asker, Requirement]] = []
        if maker is not None:
            made.append(("maker", self._here(no_lower(maker, floor))))
        called: list[tuple[Asker, Requirement]] = [] if self.caller is None else [("verifier", self.caller)]
        return [*made, *profile, *called] if self.own_profile else [*profile, *made, *called]

    def _profile(self, floor: float) -> list[tuple[Asker, Requirement]]:
        """Its gates on accuracy are shares of what the bundle says of its teacher, whoever brings the profile."""
        if self.profile is None:
            return []
        asked = self._here(required_by(self.profile, self.manifest.reference, floor=floor))
        own: Asker = "verifier" if self.own_profile else "profile"
        return [
            ("teacher", replace(asked, min_retention=None, budget=Budget())),
            (own, replace(asked, min_clean_acc=None, min_robust_acc=None)),
        ]

    def _here(self, asked: Requirement) -> Requirement:
        return replace(asked, min_robust_acc=None, min_retention=None) if self.own_radius else asked
