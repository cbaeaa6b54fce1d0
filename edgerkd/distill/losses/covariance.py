"""Second-order statistics of features. Source: Dong et al., ECCV 2024, doi 10.1007/978-3-031-73235-5_6 (abstract).

The abstract says which statistics are aligned, not the distance; the bounded Frobenius distance is ours.
"""

import torch
from torch import Tensor

from edgerkd.core.errors import ConfigError


def covariance(features: Tensor) -> Tensor:
    """The (d, d) covariance of features (n, d), unbiased, in float32. Raises ConfigError for a single image."""
    if len(features) < 2:
        raise ConfigError(f"batch {len(features)}: a covariance needs at least 2 images a step: raise the batch")
    with torch.autocast(features.device.type, enabled=False):
        centred = features.float() - features.float().mean(0)
        return centred.T @ centred / (len(features) - 1)


def gram(scores: Tensor) -> Tensor:
    """The (n, n) matrix of inner products of prediction scores (n, k), in float32."""
    with torch.autocast(scores.device.type, enabled=False):
        return scores.float() @ scores.float().T


def relative_distance(matrix: Tensor, target: Tensor) -> Tensor:
    """||matrix - target||_F^2 / (||matrix||_F^2 + ||target||_F^2): 0 where equal, free of scale, at most 2.

    Divided by the target alone, the form first tried, it has no bound: a student whose features are a
    hundred times larger than the teacher's diverged in its first steps.
    Raises ValueError for unequal shapes, which would otherwise broadcast.
    """
    if matrix.shape != target.shape:
        raise ValueError(f"matrices {tuple(matrix.shape)} and {tuple(target.shape)} differ in shape")
    scale = matrix.square().sum() + target.square().sum()
    return (matrix - target).square().sum() / scale.clamp_min(torch.finfo(torch.float32).tiny)


def covariance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Relative distance of the two covariances of features (n, d); does not see a common shift or rotation."""
    return relative_distance(covariance(student), covariance(teacher))


def gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Relative distance of the two Gram matrices of prediction scores (n, k)."""
    return relative_distance(gram(student), gram(teacher))
