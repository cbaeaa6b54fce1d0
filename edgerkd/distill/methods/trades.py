"""TRADES. Source: Zhang et al. 2019, arXiv 1901.08573, eq. 5 and algorithm 1."""

import torch
import torch.nn.functional as F
from torch import Tensor

from edgerkd.attacks.losses import kl_divergence
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.inner_attack import ascent, gaussian_start, mode
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


def attack(step: Step) -> Tensor:
    """x' that maximises KL(S(x); S(x')), the student in evaluation mode both times."""
    with torch.no_grad(), mode(step.student, training=False):
        soft = step.student(step.images).float().softmax(1)
    return ascent(step, lambda z: kl_divergence(z, soft)[1], start=gaussian_start)


def terms(step: Step, adv: Outputs) -> Terms:
    """CE(S(x), y) + beta KL(S(x); S(x')), whose gradient flows through both answers."""
    own = step.clean.student.logits
    return {
        "ce": F.cross_entropy(own.float(), step.labels),
        "kld_adv": step.recipe.beta_trades * kld_loss(adv.student.logits, own),
    }


METHOD = Method(attack=attack, terms=terms)
