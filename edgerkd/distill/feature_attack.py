"""An attack on what distillation trains: it drives the student's features away from the teacher's.

A defence that matches features must be attacked at its features (Tramer et al. 2020, arXiv 2002.08347, section 3).
"""

import torch
from torch import Tensor

from edgerkd.attacks.attack import Attack
from edgerkd.attacks.classifier import Cotangent
from edgerkd.attacks.features import at_features
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.losses.acm import taps_loss
from edgerkd.distill.losses.covariance import covariance_loss
from edgerkd.models.network import Network


class FeatureDistance:
    """The student as a `Classifier` whose gradient is not that of its logits but of its distance to the teacher.

    The distance is the sum of the ACM losses of the taps and the covariance loss of the penultimate features, of
    those that there are maps for, both networks seeing the same image; without either the gradient is 0. The
    covariance is the batch's, so an image's gradient depends on its neighbours: results are those of one cutting
    into chunks.
    """

    def __init__(self, student: Network, teacher: Network, adapters: Adapters) -> None:
        self._student, self._teacher, self._adapters = student, teacher, adapters

    def logits(self, images: Tensor) -> Tensor:
        """The student's logits (n, k)."""
        with torch.no_grad():
            return self._student(images)

    def gradient(self, images: Tensor, cotangent: Cotangent) -> tuple[Tensor, Tensor]:
        """The student's logits, and the image gradient of the distance; the cotangent is not asked."""
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            own, target = self._student.features(images), self._teacher.features(images)
            distance = 0 * own.logits.sum()
            if pairs := self._adapters.pairs(own.taps, target.taps):
                distance = distance + taps_loss(pairs)
            if self._adapters.penultimate is not None and len(images) > 1:
                distance = distance + covariance_loss(self._adapters(own.penultimate), target.penultimate)
            (gradient,) = torch.autograd.grad(distance, images)
        return own.logits.detach(), gradient


def feature_attack(student: Network, teacher: Network, adapters: Adapters) -> Attack:
    """The suite's attack on features (attacks/features.py), of these networks."""
    return at_features(FeatureDistance(student, teacher, adapters))
