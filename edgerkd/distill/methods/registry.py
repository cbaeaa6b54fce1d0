"""The methods by name."""

from edgerkd.core.recipe import MethodName
from edgerkd.distill.methods import (
    adaad,
    ard,
    covariance,
    edgerkd,
    iad,
    kd,
    mixacm,
    n_fgsm,
    pgd_at,
    rslad,
    standard,
    trades,
)
from edgerkd.distill.methods.igdm import igdm
from edgerkd.distill.methods.method import Method

METHODS: dict[MethodName, Method] = {
    "standard": standard.METHOD,
    "pgd-at": pgd_at.METHOD,
    "trades": trades.METHOD,
    "n-fgsm": n_fgsm.METHOD,
    "kd": kd.METHOD,
    "ard": ard.METHOD,
    "rslad": rslad.METHOD,
    "iad": iad.METHOD,
    "adaad": adaad.METHOD,
    "igdm-rslad": igdm(rslad.METHOD, lambda recipe: recipe.weight_igdm_rslad),
    "igdm-adaad": igdm(adaad.METHOD, lambda recipe: recipe.weight_igdm_adaad),
    "mixacm": mixacm.METHOD,
    "covariance": covariance.METHOD,
    "edgerkd": edgerkd.METHOD,
}
NEEDS_TEACHER = frozenset(name for name, method in METHODS.items() if method.needs_teacher)
