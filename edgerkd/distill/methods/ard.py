"""Adversarially robust distillation. Source: Goldblum et al., AAAI 2020, arXiv 1905.09747, and its code."""

from dataclasses import dataclass

from torch import Tensor

from edgerkd.attacks.losses import cross_entropy
from edgerkd.core.ranges import Positive
from edgerkd.core.record import Record
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.inner_attack import ascent, uniform_start
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Record):
    """How soft the soft labels are."""

    temperature_ard: Positive = 30.0
    """Source: ARD (AAAI 2020), its code."""


def attack(step: Step) -> Tensor:
    """x' that maximises CE(S(x'), y), the student in training mode."""
    return ascent(step, lambda z: cross_entropy(z, step.labels)[1], start=uniform_start, training=True)


def terms(step: Step[Options], adv: Outputs) -> Terms:
    """t^2 KL(T_t(x); S_t(x')); the labels' weight is 0 in the published runs."""
    soft = kld_loss(adv.student.logits, step.clean.teacher.logits, temperature=step.options.temperature_ard)
    return {"kld_adv": soft}


METHOD = Method(
    name="ard",
    description="ARD: the robust teacher's answers to clean images, asked of the student on adversarial ones",
    sources=("ARD: Goldblum et al., AAAI 2020, arXiv 1905.09747",),
    options=Options,
    attack=attack,
    terms=terms,
    needs_teacher=True,
)
