"""Robust soft labels with feature covariance and score Gram matrices aligned, on clean and adversarial images.

The base is RSLAD (ICCV 2021), eq. 6 and 7; the alignment Dong et al., ECCV 2024; its weights are ours.
"""

from dataclasses import dataclass
from functools import partial

import torch

from edgerkd.core.ranges import Weight
from edgerkd.distill.losses.covariance import covariance_loss, gram_loss
from edgerkd.distill.methods import rslad
from edgerkd.distill.methods.inner_attack import uniform_start
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step

attack = partial(rslad.attack, start=uniform_start)
"""The uniform start is ours: single steps from the image itself are known to collapse (Wong et al. 2020)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(rslad.Options):
    """RSLAD's, and the weights of both statistics, which are ours; a weight of 0 leaves its terms out."""

    weight_cov: Weight = 0.1
    """Of the covariance of features."""
    weight_gram: Weight = 0.1
    """Of the Gram matrix of scores."""


def terms(step: Step[Options], adv: Outputs) -> Terms:
    """The base's soft labels, and the relative distances of both statistics; a weight of 0 leaves its terms out.

    Clean and adversarial images go through the student in one pass, so that its batch norms train on
    the mixture whose statistics they keep. Raises ConfigError for a batch of one, which has no covariance.
    """
    assert step.adapters is not None
    options = step.options
    both = step.student.features(torch.cat([step.images, adv.images]))
    logits, features = both.logits.chunk(2), step.adapters(both.penultimate).chunk(2)
    found = rslad.soft_labels(options, logits[0], logits[1], step.clean.teacher.logits)
    for name, own, own_features, answers in zip(("", "_adv"), logits, features, (step.clean, adv), strict=True):
        if options.weight_cov:
            found[f"cov{name}"] = options.weight_cov * covariance_loss(own_features, answers.teacher.penultimate)
        if options.weight_gram:
            scores = own.float().softmax(1), answers.teacher.logits.float().softmax(1)
            found[f"gram{name}"] = options.weight_gram * gram_loss(*scores)
    return found


METHOD = Method(
    name="covariance",
    description="distillation on clean and adversarial images with the covariance of features aligned "
    "to the robust teacher's",
    sources=(
        "RSLAD: Zi et al., ICCV 2021, arXiv 2108.07969",
        "Covariance and Gram alignment: Dong et al., ECCV 2024, doi 10.1007/978-3-031-73235-5_6",
    ),
    options=Options,
    attack=attack,
    terms=terms,
    needs_teacher=True,
    needs_adapters=True,
)
