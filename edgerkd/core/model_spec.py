"""What any model is to edgerkd, whoever made it: a run of `distill`, or a user's own network."""

from dataclasses import dataclass
from typing import Annotated

from edgerkd.core.adoption import Adoption
from edgerkd.core.architecture import Architecture, Cost
from edgerkd.core.errors import ConfigError
from edgerkd.core.ranges import Length, Name, Within
from edgerkd.core.record import Record

UNKNOWN_LICENSE = "unknown"
"""What a model card says where nobody was told: one of the identifiers of Hugging Face's hub."""

Channels = Annotated[int, Within(1, 4)]
Side = Annotated[int, Within(1, 4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec(Record):
    """A classifier of images float32 (n, *image_shape) in [0, 1]; `classes` names its logits, in order.

    `architecture` is None for a network that edgerkd did not build; `adoption` then says how its own input and output
    relate to these. `cost` is for a batch of one image.
    """

    image_shape: tuple[Channels, Side, Side]
    classes: Annotated[tuple[Name, ...], Length(2)]
    architecture: Architecture | None
    cost: Cost
    adoption: Adoption | None = None

    def __post_init__(self) -> None:
        own = self.architecture
        if own is not None and (own.image_shape, own.classes) != (self.image_shape, len(self.classes)):
            raise ConfigError(
                f"the architecture takes images {own.image_shape} and knows {own.classes} classes, the model says "
                f"{self.image_shape} and names {len(self.classes)}"
            )
