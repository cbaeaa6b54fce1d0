"""Adaptive adversarial distillation. Source: Huang et al., CVPR 2023, AdaAD, and its code."""

import torch
from torch import Tensor, nn

from edgerkd.attacks.losses import log_softmax
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.inner_attack import ascent, gaussian_start
from edgerkd.distill.methods.method import Method, NoOptions, Terms
from edgerkd.distill.methods.step import Outputs, Step
from edgerkd.models.network import Network


class SideBySide(nn.Module):
    """Two networks as one, whose logits (n, 2k) are the student's and then the teacher's."""

    def __init__(self, student: Network, teacher: Network) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.student(images), self.teacher(images)], 1)


def discrepancy_cotangent(logits: Tensor) -> Tensor:
    """The derivative of KL(T; S) in the logits of both, side by side (n, 2k)."""
    log_s, log_t = (log_softmax(z) for z in logits.chunk(2, 1))
    t, ratio = log_t.exp(), log_t - log_s
    return torch.cat([log_s.exp() - t, t * (ratio - (t * ratio).sum(1, keepdim=True))], 1)


def attack(step: Step) -> Tensor:
    """x' that maximises KL(T(x'); S(x')): the teacher's answer moves along, and so does its gradient."""
    assert step.teacher is not None
    both = SideBySide(step.student, step.teacher)
    return ascent(step, discrepancy_cotangent, start=gaussian_start, network=both)


def terms(_: Step, adv: Outputs) -> Terms:
    """KL(T(x'); S(x')); the clean images' weight is 0 in the published runs."""
    return {"kld_adv": kld_loss(adv.student.logits, adv.teacher.logits)}


METHOD = Method(
    name="adaad",
    description="AdaAD: adversarial images on which teacher and student disagree most, with the teacher's answers",
    sources=("AdaAD: Huang et al., CVPR 2023",),
    options=NoOptions,
    attack=attack,
    terms=terms,
    needs_teacher=True,
)
