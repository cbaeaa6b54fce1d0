"""Robust soft labels with feature covariance and score Gram matrices aligned, on clean and adversarial images.

The base is RSLAD (ICCV 2021), eq. 6 and 7; the alignment Dong et al., ECCV 2024; its weights are ours.
"""

from functools import partial

import torch

from edgerkd.distill.losses.covariance import covariance_loss, gram_loss
from edgerkd.distill.methods import rslad
from edgerkd.distill.methods.inner_attack import uniform_start
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step

attack = partial(rslad.attack, start=uniform_start)
"""The uniform start is ours: single steps from the image itself are known to collapse (Wong et al. 2020)."""


def terms(step: Step, adv: Outputs) -> Terms:
    """The base's soft labels, and the relative distances of both statistics; a weight of 0 leaves its terms out.

    Clean and adversarial images go through the student in one pass, so that its batch norms train on
    the mixture whose statistics they keep. Raises ConfigError for a batch of one, which has no covariance.
    """
    assert step.adapters is not None
    recipe = step.recipe
    both = step.student.features(torch.cat([step.images, adv.images]))
    logits, features = both.logits.chunk(2), step.adapters(both.penultimate).chunk(2)
    found = rslad.soft_labels(recipe, logits[0], logits[1], step.clean.teacher.logits)
    for name, own, own_features, answers in zip(("", "_adv"), logits, features, (step.clean, adv), strict=True):
        if recipe.weight_cov:
            found[f"cov{name}"] = recipe.weight_cov * covariance_loss(own_features, answers.teacher.penultimate)
        if recipe.weight_gram:
            scores = own.float().softmax(1), answers.teacher.logits.float().softmax(1)
            found[f"gram{name}"] = recipe.weight_gram * gram_loss(*scores)
    return found


METHOD = Method(attack=attack, terms=terms, needs_teacher=True, needs_adapters=True)
