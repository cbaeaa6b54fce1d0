"""Distillation on clean images. Source: Hinton et al. 2015, arXiv 1503.02531, section 2."""

from dataclasses import dataclass

import torch.nn.functional as F

from edgerkd.core.ranges import Positive, Share
from edgerkd.core.record import Record
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Record):
    """How soft the soft labels are, and how much they count."""

    temperature_kd: Positive = 4.0
    """Source: Hinton et al. 2015, section 3: 2.5 to 4 suit small students."""
    share_kd: Share = 0.9
    """Share of the soft labels beside the labels. Ours."""


def terms(step: Step[Options], seen: Outputs) -> Terms:
    """a t^2 KL(T_t(x); S_t(x)) + (1 - a) CE(S(x), y)."""
    options, own = step.options, seen.student.logits
    soft = kld_loss(own, seen.teacher.logits, temperature=options.temperature_kd)
    return {
        "kld": options.share_kd * soft,
        "ce": (1 - options.share_kd) * F.cross_entropy(own.float(), step.labels),
    }


METHOD = Method(
    name="kd",
    description="distillation on clean images only: the teacher's soft labels beside the labels",
    sources=("Hinton et al. 2015, arXiv 1503.02531",),
    options=Options,
    terms=terms,
    needs_teacher=True,
)
