"""Indirect gradient matching, added to another method. Source: IGDM, Lee et al., ICLR 2025, arXiv 2312.03286."""

from dataclasses import replace
from typing import Any

from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.method import AnyMethod, Terms
from edgerkd.distill.methods.step import Outputs, Step

SOURCE = "IGDM: Lee et al., ICLR 2025, arXiv 2312.03286"


def igdm(base: AnyMethod, *, name: str, description: str, options: type[Any]) -> AnyMethod:
    """`base` with alpha progress KL(z_T(x + d) - z_T(x - d); z_S(x + d) - z_S(x - d)), of the differences' softmax.

    d = x' - x is the base's own perturbation, z are logits: a difference stands for 2 d times the
    input gradient. x - d is not clipped to [0, 1], which would make it another d. alpha is the options' `weight_igdm`.
    """

    def terms(step: Step[Any], adv: Outputs) -> Terms:
        mirrored = step.outputs(2 * step.images - adv.images)
        own = adv.student.logits.float() - mirrored.student.logits.float()
        target = adv.teacher.logits.float() - mirrored.teacher.logits.float()
        alpha = step.options.weight_igdm * step.progress
        return {**base.terms(step, adv), "igdm": alpha * kld_loss(own, target)}

    sources = (*base.sources, SOURCE)
    return replace(base, name=name, description=description, sources=sources, options=options, terms=terms)
