"""How far a network's features and scores move under attack: distances that are 0 where they did not.

Source: Dong et al., ECCV 2024, doi 10.1007/978-3-031-73235-5_6 (abstract): robust accuracy at growing radii falls
linearly as the gap between the variance of adversarial and of clean features grows, and likewise for Gram matrices;
students are trained to make it small by aligning covariances. So we read the gap as a distance. Which one the abstract
does not say: penultimate features, the Frobenius norm, and dividing by the clean matrix's own norm are ours. Variance
within and between classes is the textbook's analysis of variance (Fisher 1925, Statistical Methods for Research
Workers, chapter VII); looking at it here is ours.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from edgerkd.core.variance_gap import Gaps
from edgerkd.models.network import Network

BATCH = 256
TINY = torch.finfo(torch.float32).tiny


class Outputs(NamedTuple):
    """`penultimate` features (n, d) and prediction `scores` (n, k), whose rows sum to 1."""

    penultimate: Tensor
    scores: Tensor


class Spread(NamedTuple):
    """The total variance of features in its two parts, each at least 0."""

    within: float
    between: float

    @property
    def total(self) -> float:
        """The trace of the unbiased covariance."""
        return self.within + self.between

    @property
    def share(self) -> float:
        """Of the variance within classes: 0 (all of a class alike) to 1 (class means alike); 0 without variance."""
        return self.within / max(self.total, TINY)


@torch.no_grad()
def answers(network: Network, images: Tensor) -> Outputs:
    """The network's answers to float images (n, c, h, w), used in the mode it is in."""
    found = [network.features(part) for part in images.split(BATCH)]
    scores = torch.cat([part.logits for part in found]).float().softmax(1)
    return Outputs(torch.cat([part.penultimate for part in found]).float(), scores)


def spread(features: Tensor, labels: Tensor) -> Spread:
    """The variance of features (n, d) within the classes of labels (n,), and between them; n at least 2.

    With class means m_c and the mean m: sum_i ||h_i - m_c(i)||^2 / (n - 1) and sum_i ||m_c(i) - m||^2 / (n - 1). A
    class of one image has no variance within.
    """
    features = features.double()
    _, groups = labels.unique(return_inverse=True)
    members = one_hot(groups).double()  # a product of matrices: sums by index differ from run to run on a GPU
    means = (members.T @ features / members.sum(0)[:, None])[groups]
    within, between = (features - means).square().sum(), (means - features.mean(0)).square().sum()
    return Spread(float(within) / (len(features) - 1), float(between) / (len(features) - 1))


def covariance_distance(features: Tensor, features_adv: Tensor) -> float:
    """||C_adv - C||_F / ||C||_F of the unbiased covariances C of features (n, d), each n at least 2: at least 0.

    0 where the covariances are equal; a shift of either, and a common rotation or scale, change nothing.
    """
    clean, attacked = _covariance(features), _covariance(features_adv)
    return float((attacked - clean).norm() / clean.norm().clamp_min(TINY))


def _covariance(features: Tensor) -> Tensor:
    """(d, d), in float64."""
    centred = features.double() - features.double().mean(0)
    return centred.T @ centred / (len(features) - 1)


def gram_distance(scores: Tensor, scores_adv: Tensor) -> float:
    """||Q Q^T - P P^T||_F / ||P P^T||_F of scores P and Q (n, k), row i of both the same image's: at least 0.

    The (n, n) matrices are never made: ||P P^T - Q Q^T||^2 = ||P^T P||^2 + ||Q^T Q||^2 - 2 ||P^T Q||^2, in float64.
    Differences below about 1e-8 are lost in that.
    """
    clean, attacked = scores.double(), scores_adv.double()
    own, other, mixed = ((a.T @ b).square().sum() for a, b in ((clean, clean), (attacked, attacked), (clean, attacked)))
    return float(((own + other - 2 * mixed).clamp_min(0) / own.clamp_min(TINY)).sqrt())


def within_share_gap(features: Tensor, features_adv: Tensor, labels: Tensor) -> float:
    """The within-class share of the total variance under attack, less that without: -1 to 1; 0 where alike."""
    return spread(features_adv, labels).share - spread(features, labels).share


def gaps_between(clean: Outputs, attacked: Outputs, labels: Tensor) -> Gaps:
    """Every gap between the outputs for clean images and for the same attacked, of true labels (n,); n at least 2."""
    own, other = spread(clean.penultimate, labels), spread(attacked.penultimate, labels)
    scale = max(own.total, TINY)
    return Gaps(
        covariance=covariance_distance(clean.penultimate, attacked.penultimate),
        gram=gram_distance(clean.scores, attacked.scores),
        within_class=(other.within - own.within) / scale,
        within_share=other.share - own.share,
        between_class=(other.between - own.between) / scale,
        total=(other.total - own.total) / scale,
    )
