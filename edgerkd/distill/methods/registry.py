"""The methods by name. A new one is a file beside this one that has a METHOD, and a line here."""

from importlib import import_module

from edgerkd.core.errors import UnknownNameError
from edgerkd.distill.methods.method import AnyMethod

FILES = (
    "standard",
    "pgd_at",
    "trades",
    "n_fgsm",
    "kd",
    "ard",
    "rslad",
    "iad",
    "adaad",
    "igdm_rslad",
    "igdm_adaad",
    "mixacm",
    "covariance",
    "edgerkd",
)

_FOUND: tuple[AnyMethod, ...] = tuple(import_module(f"edgerkd.distill.methods.{file}").METHOD for file in FILES)

METHODS: dict[str, AnyMethod] = {method.name: method for method in _FOUND}

DEFAULT = METHODS["edgerkd"]
"""Where nothing else is asked for."""
FOR_TEACHERS = METHODS["pgd-at"]
"""The same, of a teacher."""
UNDEFENDED = METHODS["standard"]
"""What a network is without any defence, to compare others with."""


def load_method(name: str) -> AnyMethod:
    """The method of that name. Raises UnknownNameError, which says what each known one is."""
    if name not in METHODS:
        raise UnknownNameError("method", name, words={each.name: each.description for each in METHODS.values()})
    return METHODS[name]
