"""Which attacks there are, by the names a user types, and running several one after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from array_api_compat import array_namespace

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.apgd import apgd
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.fab import fab_targeted
from edgerkd.attacks.losses import (
    cross_entropy,
    dlr,
    dlr_targeted,
    kl_divergence,
    log_softmax,
    margin,
    margin_targeted,
)
from edgerkd.attacks.pgd import pgd
from edgerkd.attacks.square import square
from edgerkd.core.errors import UnknownNameError
from edgerkd.core.evaluation import Source
from edgerkd.core.threat import ThreatModel

STEPS = 100  # of APGD and FAB. Source: Croce and Hein 2020, arXiv 2003.01690, section 5
TARGETS = 9  # the same
QUERIES = 5000  # of Square, the same


WEAK = frozenset({"fgsm", "pgd-kl"})
"""Attacks whose figure alone never shows robustness: one step, or a loss that does not ask for the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack, ready to run: `run(classifier, inputs)` gives adversarial images (n, c, h, w)."""

    name: str
    source: Source
    run: Callable[[Classifier, AttackInputs], Array]


def attacks_named(name: str, *, threat_model: ThreatModel, classes: int) -> tuple[tuple[Attack, ...], tuple[str, ...]]:
    """The attacks a user's word stands for, in the order they run, and notices about them.

    Raises UnknownNameError.
    """
    eps = float(threat_model.eps)
    targets = min(TARGETS, classes - 1)
    notices: list[str] = []
    untargeted, targeted = dlr, dlr_targeted
    if classes < 4:
        targeted = margin_targeted
        untargeted = dlr if classes == 3 else margin
        if name in ("apgd-dlr", "apgd-t", "apgd", "autoattack"):
            notices.append(f"the DLR losses need four classes and there are {classes}: margins stand in for them")
    # 2/255 for 8/255. Source: Madry et al. 2018, section 5, CIFAR-10
    pgd_20 = partial(pgd, steps=20, step_size=eps / 4)
    fgsm = Attack(
        name="FGSM",
        source="direct",
        run=partial(pgd, loss=cross_entropy, steps=1, step_size=eps, from_images=True),
    )
    # Two losses, for each is blind where the other sees: CE where logits saturate, the margin on its plateaus.
    pgds = (
        Attack(name="PGD-20 CE", source="direct", run=partial(pgd_20, loss=cross_entropy)),
        Attack(name="PGD-20 margin", source="direct", run=partial(pgd_20, loss=margin)),
    )
    pgd_100 = Attack(
        name="PGD-100 CE, 5 restarts",
        source="direct",
        run=partial(pgd, loss=cross_entropy, steps=100, step_size=eps / 4, restarts=5),
    )
    pgd_kl = Attack(name="PGD-20 KL", source="direct", run=partial(_pgd_kl, step_size=eps / 4))
    apgd_ce = Attack(name="APGD-CE", source="direct", run=partial(apgd, loss=cross_entropy, steps=STEPS))
    apgd_dlr = Attack(name="APGD-DLR", source="direct", run=partial(apgd, loss=untargeted, steps=STEPS))
    apgd_t = Attack(name="APGD-T", source="direct", run=partial(apgd, loss=targeted, steps=STEPS, targets=targets))
    fab_t = Attack(name="FAB-T", source="direct", run=partial(fab_targeted, steps=STEPS, targets=targets))
    squares = Attack(name="Square", source="query", run=partial(square, queries=QUERIES))
    known: dict[str, tuple[Attack, ...]] = {
        "fgsm": (fgsm,),
        "pgd": pgds,
        "pgd-kl": (pgd_kl,),
        "pgd-100": (pgd_100,),
        "apgd-ce": (apgd_ce,),
        "apgd-dlr": (apgd_dlr,),
        "apgd-t": (apgd_t,),
        "fab-t": (fab_t,),
        "square": (squares,),
        "apgd": (apgd_ce, apgd_t),
        "autoattack": (apgd_ce, apgd_t, fab_t, squares),
    }
    if name not in known:
        raise UnknownNameError("attack", name, known)
    if name in WEAK or name in ("pgd", "pgd-100"):
        notices.append(f"{name} alone over-reports: use --attack autoattack before you believe the figure")
    return known[name], tuple(notices)


def _pgd_kl(classifier: Classifier, inputs: AttackInputs, *, step_size: float) -> Array:
    """Away from the model's own clean answer. Source: Zhang et al. 2019 (TRADES), arXiv 1901.08573, eq. 5."""
    xp = array_namespace(inputs.images)
    clean = xp.exp(log_softmax(classifier.logits(inputs.images)))
    return pgd(classifier, inputs, loss=kl_divergence, steps=20, step_size=step_size, targets=clean)
