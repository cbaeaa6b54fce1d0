"""Distillation on clean images. Source: Hinton et al. 2015, arXiv 1503.02531, section 2."""

import torch.nn.functional as F

from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


def terms(step: Step, seen: Outputs) -> Terms:
    """a t^2 KL(T_t(x); S_t(x)) + (1 - a) CE(S(x), y)."""
    recipe, own = step.recipe, seen.student.logits
    soft = kld_loss(own, seen.teacher.logits, temperature=recipe.temperature_kd)
    return {
        "kld": recipe.share_kd * soft,
        "ce": (1 - recipe.share_kd) * F.cross_entropy(own.float(), step.labels),
    }


METHOD = Method(terms=terms, needs_teacher=True)
