"""The threat model of a command, and who says so."""

from edgerkd.core.customary import customary_for
from edgerkd.core.errors import ConfigError
from edgerkd.core.threat import ThreatModel, load_norm
from edgerkd.core.units import Radius


def threat_model_for(
    source: str, name: str, *, channels: int, eps: Radius | None, norm: str = "Linf"
) -> tuple[ThreatModel, str]:
    """The threat model for the data that `source` names, and who says so: the user, or custom.

    Raises ConfigError for a radius of 0 and where none is customary, UnknownNameError for the norm.
    """
    if eps is not None:
        given = ThreatModel(norm=load_norm(norm), eps=eps)
        check_radius(given)
        return given, "as given"
    found = customary_for(source, channels=channels)
    if found is not None and found.threat_model.norm == load_norm(norm):
        return found.threat_model, found.source
    if found is not None:
        raise ConfigError(f"--norm {norm} needs --eps: the customary {found.threat_model.eps} is in Linf.")
    raise ConfigError(
        f"--eps: {name} is grey, and there is no customary radius for grey images: ink on paper tolerates 0.3 "
        "(MNIST), clothes 0.1 (Fashion-MNIST), fine shades like those of X-rays 4/255. The right one is the largest "
        "at which a person still sees each class after every pixel was moved by it. Set it with --eps."
    )


def check_radius(threat_model: ThreatModel) -> None:
    """Raises ConfigError for 0."""
    if threat_model.eps == 0:
        raise ConfigError("--eps 0: nothing is attacked within a radius of 0. Write one above 0, like 8/255.")
