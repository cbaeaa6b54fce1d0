"""Robust soft labels. Source: RSLAD, Zi et al., ICCV 2021, arXiv 2108.07969, eq. 6 and 7."""

from dataclasses import dataclass

from torch import Tensor

from edgerkd.attacks.losses import kl_divergence
from edgerkd.core.ranges import Share
from edgerkd.core.record import Record
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.inner_attack import Start, ascent, gaussian_start
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Record):
    """How much clean images count."""

    weight_clean: Share = 1 / 6
    """Share of the clean term beside the adversarial one. Source: RSLAD (ICCV 2021), eq. 7 and its code."""


def attack(step: Step, *, start: Start = gaussian_start) -> Tensor:
    """x' that maximises KL(T(x); S(x')), the student in evaluation mode."""
    soft = step.clean.teacher.logits.float().softmax(1)
    return ascent(step, lambda z: kl_divergence(z, soft)[1], start=start)


def soft_labels(options: Options, own: Tensor, own_adv: Tensor, target: Tensor) -> Terms:
    """(1 - w) KL(T(x); S(x')) + w KL(T(x); S(x)) of logits (n, k); no labels."""
    return {
        "kld": options.weight_clean * kld_loss(own, target),
        "kld_adv": (1 - options.weight_clean) * kld_loss(own_adv, target),
    }


def terms(step: Step[Options], adv: Outputs) -> Terms:
    """The two soft-label terms; clean and adversarial images go through the student one after the other, as published.

    So its batch norms see two sets of statistics, and their running means mix both.
    """
    return soft_labels(step.options, step.clean.student.logits, adv.student.logits, step.clean.teacher.logits)


METHOD = Method(
    name="rslad",
    description="RSLAD: the robust teacher's soft labels in the attack and in the loss, and no labels",
    sources=("RSLAD: Zi et al., ICCV 2021, arXiv 2108.07969",),
    options=Options,
    attack=attack,
    terms=terms,
    needs_teacher=True,
)
