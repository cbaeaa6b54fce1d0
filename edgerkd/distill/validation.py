"""How good a network is on the validation split: what an epoch is chosen by."""

from math import nan
from typing import NamedTuple

import numpy as np

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.losses import cross_entropy
from edgerkd.attacks.pgd import pgd
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Split, to_float
from edgerkd.distill.variance_gap import variance_gap
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.fold import folded
from edgerkd.models.network import Network

STEPS = 10


class Validation(NamedTuple):
    """Shares of the images answered right, as they are and under PGD-10 as well, and the variance gap of the former.

    The gap is NaN where fewer than two images are right.
    """

    clean_acc: float
    robust_acc: float
    variance_gap: float


def validate(network: Network, split: Split, threat_model: ThreatModel, *, autocast: bool) -> Validation:
    """Clean and PGD-10 accuracy, cross-entropy; one start from the images, the same for every epoch."""
    classifier = TorchClassifier(folded(network), autocast=autocast)
    images, labels = to_float(split.images), split.labels
    clean = classifier.logits(images).argmax(1) == labels
    inputs = AttackInputs(
        images=images[clean], labels=labels[clean], threat_model=threat_model, seed=0, index=np.arange(int(clean.sum()))
    )
    step_size = float(threat_model.eps) / 4
    images_adv = pgd(classifier, inputs, loss=cross_entropy, steps=STEPS, step_size=step_size, from_images=True)
    resisted = classifier.logits(images_adv).argmax(1) == inputs.labels
    gap = variance_gap(network, inputs.images, images_adv) if clean.sum() > 1 else nan
    return Validation(int(clean.sum()) / len(split), int(resisted.sum()) / len(split), gap)
