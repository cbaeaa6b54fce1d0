"""MixACM: activated channel maps, soft labels and mixup; no adversarial image is made.

Source: Awais et al., NeurIPS 2021, arXiv 2111.05073, figures 1 and 2; the weights are ours.
"""

from edgerkd.core.errors import ConfigError
from edgerkd.distill.losses.acm import taps_loss
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.losses.mixup import mixup, mixup_loss
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


def terms(step: Step, _: Outputs) -> Terms:
    """The label loss, soft labels and channel maps of one mixture; a weight of 0 leaves its term out.

    A `mixup_alpha` of 0 mixes nothing. Raises ConfigError where all three weights are 0.
    """
    assert step.adapters is not None
    recipe = step.recipe
    lam = float(step.noise.beta(recipe.mixup_alpha, recipe.mixup_alpha)) if recipe.mixup_alpha > 0 else 1.0
    mixture = mixup(step.images, step.labels, lam=lam, generator=step.generator)
    mixed = step.outputs(mixture.images)
    found: Terms = {}
    if recipe.weight_label:
        found["mix"] = recipe.weight_label * mixup_loss(mixed.student.logits, mixture)
    if recipe.weight_kld:
        soft = kld_loss(mixed.student.logits, mixed.teacher.logits, temperature=recipe.temperature)
        found["kld"] = recipe.weight_kld * soft
    if recipe.weight_acm:
        found["acm"] = recipe.weight_acm * taps_loss(step.adapters.pairs(mixed.student.taps, mixed.teacher.taps))
    if not found:
        raise ConfigError("weight_label, weight_kld and weight_acm are all 0: method mixacm needs one above 0")
    return found


METHOD = Method(
    terms=terms, needs_teacher=True, needs_adapters=True, compares_taps=lambda recipe: recipe.weight_acm > 0
)
