"""TRADES. Source: Zhang et al. 2019, arXiv 1901.08573, eq. 5 and algorithm 1."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgerkd.attacks.losses import kl_divergence
from edgerkd.core.ranges import Weight
from edgerkd.core.record import Record
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.inner_attack import ascent, gaussian_start, mode
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Record):
    """The weight of equal answers beside right ones."""

    beta_trades: Weight = 6.0
    """Source: TRADES (Zhang et al. 2019), section 5."""


def attack(step: Step) -> Tensor:
    """x' that maximises KL(S(x); S(x')), the student in evaluation mode both times."""
    with torch.no_grad(), mode(step.student, training=False):
        soft = step.student(step.images).float().softmax(1)
    return ascent(step, lambda z: kl_divergence(z, soft)[1], start=gaussian_start)


def terms(step: Step[Options], adv: Outputs) -> Terms:
    """CE(S(x), y) + beta KL(S(x); S(x')), whose gradient flows through both answers."""
    own = step.clean.student.logits
    return {
        "ce": F.cross_entropy(own.float(), step.labels),
        "kld_adv": step.options.beta_trades * kld_loss(adv.student.logits, own),
    }


METHOD = Method(
    name="trades",
    description="TRADES, without a teacher: clean accuracy against equal answers to clean and adversarial images",
    sources=("TRADES: Zhang et al. 2019, arXiv 1901.08573",),
    options=Options,
    attack=attack,
    terms=terms,
    trains_teachers=True,
)
