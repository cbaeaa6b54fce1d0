"""Adversarial training. Source: Madry et al. 2018, arXiv 1706.06083, eq. 2.1."""

import torch.nn.functional as F
from torch import Tensor

from edgerkd.attacks.losses import cross_entropy
from edgerkd.distill.methods.inner_attack import ascent, uniform_start
from edgerkd.distill.methods.method import Method, NoOptions, Terms
from edgerkd.distill.methods.step import Outputs, Step


def attack(step: Step) -> Tensor:
    """x' that maximises CE(S(x'), y), the student in evaluation mode."""
    return ascent(step, lambda z: cross_entropy(z, step.labels)[1], start=uniform_start)


def terms(step: Step, adv: Outputs) -> Terms:
    """CE(S(x'), y)."""
    return {"ce_adv": F.cross_entropy(adv.student.logits.float(), step.labels)}


METHOD = Method(
    name="pgd-at",
    description="adversarial training, without a teacher",
    sources=("Madry et al. 2018, arXiv 1706.06083",),
    options=NoOptions,
    attack=attack,
    terms=terms,
    trains_teachers=True,
)
