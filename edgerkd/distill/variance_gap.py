"""How much further a network's features spread under attack.

Source: Dong et al., ECCV 2024, doi 10.1007/978-3-031-73235-5_6 (abstract): robust accuracy at growing radii falls
linearly with Var(adversarial features) - Var(clean features), and likewise for Gram matrices. What the variance is
of, and the norm, the abstract does not say: penultimate features and the Frobenius norm are ours.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from edgerkd.models.network import Network

BATCH = 256


class Outputs(NamedTuple):
    """`penultimate` features (n, d) and prediction `scores` (n, k), whose rows sum to 1."""

    penultimate: Tensor
    scores: Tensor


@torch.no_grad()
def answers(network: Network, images: Tensor) -> Outputs:
    """The network's answers to float images (n, c, h, w), used in the mode it is in."""
    found = [network.features(part) for part in images.split(BATCH)]
    scores = torch.cat([part.logits for part in found]).float().softmax(1)
    return Outputs(torch.cat([part.penultimate for part in found]).float(), scores)


def total_variance(features: Tensor) -> float:
    """The trace of the unbiased covariance of features (n, d), n at least 2: the sum of each one's variance."""
    return float(features.double().var(0).sum())


def gram_norm(scores: Tensor) -> float:
    """||scores scores^T||_F / n of scores (n, k): 0 to 1, larger where answers are sure and of fewer classes.

    The (n, n) Gram matrix and the (k, k) matrix scores^T scores have the same norm; the latter is computed.
    Dividing by n, which keeps the figure free of the number of images, is ours.
    """
    scores = scores.double()
    return float((scores.T @ scores).norm() / len(scores))


def relative_gap(variance: float, variance_adv: float) -> float:
    """The gap over the clean variance, free of the features' scale: -1 where attacked features are all alike."""
    return (variance_adv - variance) / max(variance, torch.finfo(torch.float32).tiny)


def variance_gap(features: Tensor, features_adv: Tensor) -> float:
    """The relative gap between the features of images and of the same attacked, each (n, d), n at least 2."""
    return relative_gap(total_variance(features), total_variance(features_adv))
