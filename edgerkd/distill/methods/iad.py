"""Introspective adversarial distillation (IAD-I). Source: Zhu et al., ICLR 2022, arXiv 2106.04928, and its code."""

from torch import Tensor

from edgerkd.distill.losses.kld import kl_each, kld_loss
from edgerkd.distill.methods import ard
from edgerkd.distill.methods.method import Method, NoOptions, Terms
from edgerkd.distill.methods.step import Outputs, Step

WARM_UP = 60 / 200  # the share of the run before the student takes its own answers into account
BETA = 0.1


def trust(target_adv: Tensor, labels: Tensor) -> Tensor:
    """p_T(y given x')^beta (n,) of the teacher's logits (n, k): 1 where it is sure of the label, 0 where fooled."""
    return target_adv.float().softmax(1).gather(1, labels[:, None])[:, 0] ** BETA


def terms(step: Step, adv: Outputs) -> Terms:
    """KL(T(x); S(x')), and after the warm-up + (1 - trust) KL(S(x); S(x')), where S(x) is a label: held constant."""
    soft = {"kld_adv": kld_loss(adv.student.logits, step.clean.teacher.logits)}
    if not step.past(WARM_UP):
        return soft
    doubt = 1 - trust(adv.teacher.logits, step.labels)
    introspection = doubt * kl_each(adv.student.logits, step.clean.student.logits.detach())
    return {**soft, "introspection": introspection.mean()}


METHOD = Method(
    name="iad",
    description="IAD: the robust teacher's answers, and the student's own where the teacher is fooled",
    sources=("IAD: Zhu et al., ICLR 2022, arXiv 2106.04928",),
    options=NoOptions,
    attack=ard.attack,
    terms=terms,
    needs_teacher=True,
)
