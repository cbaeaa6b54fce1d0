"""The index of a bundle: a model with its variants, what is asked of them, and the digest of each file."""

from dataclasses import dataclass, field
from typing import Annotated

from edgerkd.core.data_request import Preprocessing
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.model_spec import ModelSpec
from edgerkd.core.precision import Placement, PrecisionSearch
from edgerkd.core.profile import Profile
from edgerkd.core.ranges import Amount, Length, Name, Sha256
from edgerkd.core.record import Record
from edgerkd.core.requirement import ReferenceResult, Requirement
from edgerkd.core.threat import ThreatModel
from edgerkd.core.variant import Variant

MANIFEST = "manifest.json"
SAMPLES = "samples.npz"
MOST_ORIGINS = 16  # ours; each is a row of its own, and Judged has a letter a row


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry(Record):
    """One file of the bundle."""

    size: Amount
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Record):
    """Everything a device needs to know about a bundle.

    `format` is the backend it was made for. `profiles` are the devices it was made for, the first one by default;
    `requirement` are thresholds of the maker's own, which count before a profile's. `preprocessing` is what pictures
    need before they are images. `rejected` are searches for a lower precision that led to none. `origins` are the other
    networks that adversarial images of the samples were made against.
    """

    SCHEMA = 1

    name: Name
    dataset: Name
    model: ModelSpec
    preprocessing: Preprocessing
    threat_model: ThreatModel
    format: Name
    variants: Annotated[tuple[Variant, ...], Length(1)]
    profiles: tuple[Profile, ...]
    requirement: Requirement | None
    reference: ReferenceResult | None
    versions: dict[str, str]
    rejected: tuple[PrecisionSearch, ...] = ()
    origins: Annotated[tuple[Name, ...], Length(most=MOST_ORIGINS)] = ()
    samples: Name = SAMPLES
    files: dict[str, FileEntry] = field(default_factory=dict[str, FileEntry])

    @property
    def host(self) -> Variant | None:
        """The float32 variant, which is the model that the host measured."""
        return next((variant for variant in self.variants if variant.precision == "fp32"), None)

    def variant_for(self, backend: str, placement: Placement | None, name: str | None = None) -> Variant:
        """The variant of that name, or the first that a backend of this name and placement can build.

        Raises UnknownNameError, or ConfigError where there is none.
        """
        fitting = [v for v in self.variants if v.fits(backend, placement)]
        for variant in fitting:
            if name in (None, variant.name):
                return variant
        if name is None:
            made = ", ".join(f"{v.name} for {v.backend or v.placement}" for v in self.variants)
            raise ConfigError(f"This bundle has no variant that {backend} can run: it has {made}.")
        raise UnknownNameError(f"variant of this bundle for {backend}", name, [v.name for v in fitting])
