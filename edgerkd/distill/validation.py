"""How good a network is on the validation split: what an epoch is chosen by."""

from math import nan
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.losses import cross_entropy
from edgerkd.attacks.pgd import pgd
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Split, to_float
from edgerkd.distill.variance_gap import answers, within_share_gap
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.fold import folded
from edgerkd.models.hardware import images_at_once
from edgerkd.models.network import Network

STEPS = 10


class Validation(NamedTuple):
    """Shares of the images answered right, as they are and under PGD-10 as well.

    `within_share_gap` is by how much PGD-10 raises the within-class share of the former images' feature variance; NaN
    where fewer than two images are right.
    """

    clean_acc: float
    robust_acc: float
    within_share_gap: float


def validate(network: Network, split: Split, threat_model: ThreatModel, *, autocast: bool) -> Validation:
    """Clean and PGD-10 accuracy, cross-entropy; one start from the images, the same for every epoch."""
    classifier = TorchClassifier(folded(network), autocast=autocast)
    n, places = images_at_once(split.image_shape), torch.arange(len(split))
    parts = [_part(network, classifier, split.take(rows.numpy()), threat_model) for rows in places.split(n)]
    features, features_adv, labels = (torch.cat(each) for each in zip(*(part[:3] for part in parts), strict=True))
    clean, resisted = len(features), sum(part[3] for part in parts)
    gap = within_share_gap(features, features_adv, labels) if clean > 1 else nan
    return Validation(clean / len(split), resisted / len(split), gap)


def _part(
    network: Network, classifier: TorchClassifier, part: Split, threat_model: ThreatModel
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Of the images answered right: features, those when attacked, labels, and how many are answered right even so."""
    images, labels = to_float(part.images), part.labels
    clean = classifier.logits(images).argmax(1) == labels
    inputs = AttackInputs(
        images=images[clean], labels=labels[clean], threat_model=threat_model, seed=0, index=np.arange(int(clean.sum()))
    )
    step_size = float(threat_model.eps) / 4
    images_adv = pgd(classifier, inputs, loss=cross_entropy, steps=STEPS, step_size=step_size, from_images=True)
    resisted = classifier.logits(images_adv).argmax(1) == inputs.labels
    features, features_adv = (answers(network, batch).penultimate for batch in (inputs.images, images_adv))
    return features, features_adv, inputs.labels, int(resisted.sum())
