"""Indirect gradient matching, added to another method. Source: IGDM, Lee et al., ICLR 2025, arXiv 2312.03286."""

from collections.abc import Callable
from dataclasses import replace

from edgerkd.core.recipe import Recipe
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


def igdm(base: Method, weight: Callable[[Recipe], float]) -> Method:
    """`base` with alpha progress KL(z_T(x + d) - z_T(x - d); z_S(x + d) - z_S(x - d)), of the differences' softmax.

    d = x' - x is the base's own perturbation, z are logits: a difference stands for 2 d times the
    input gradient. x - d is not clipped to [0, 1], which would make it another d.
    """

    def terms(step: Step, adv: Outputs) -> Terms:
        mirrored = step.outputs(2 * step.images - adv.images)
        own = adv.student.logits.float() - mirrored.student.logits.float()
        target = adv.teacher.logits.float() - mirrored.teacher.logits.float()
        alpha = weight(step.recipe) * step.progress
        return {**base.terms(step, adv), "igdm": alpha * kld_loss(own, target)}

    return replace(base, terms=terms)
