"""The threat models that are customary for known data sets, and who says so."""

from dataclasses import dataclass

from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius

_MADRY = "customary since Madry et al. 2018, arXiv 1706.06083, section 5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Customary:
    """A threat model, and the `source` that it is usual from."""

    threat_model: ThreatModel
    source: str


def _linf(eps: str, source: str) -> Customary:
    return Customary(threat_model=ThreatModel(norm="Linf", eps=Radius(eps)), source=source)


CUSTOMARY = {
    "digits": _linf("32/255", "ours: an eighth of a stroke's contrast"),
    "mnist": _linf("0.3", _MADRY),
    "fashion-mnist": _linf("0.1", "customary since Wong and Kolter 2018, arXiv 1711.00851, section 4"),
    "cifar10": _linf("8/255", _MADRY),
    "gtsrb": _linf("8/255", "that of other small colour images"),
}
"""By the name of a data set."""

COLOUR = _linf("8/255", "customary for small colour images; --eps sets another")
"""For a user's own colour images: that of CIFAR-10 and, at 4/255 to 8/255, of ImageNet. RobustBench's threat models,
arXiv 2010.09670, section 3."""


def customary_for(dataset: str, *, channels: int) -> Customary | None:
    """What is usual for a data set by its name, or for any other of so many channels; None for grey images."""
    return CUSTOMARY.get(dataset, COLOUR if channels == 3 else None)
