"""What attacks maximise: each loss gives its value per image (n,) and its derivative in the logits (n, k).

The derivatives are written out, so that an engine without automatic differentiation can be attacked.
"""

from collections.abc import Callable

from array_api_compat import array_namespace

from edgerkd.attacks.arrays import device_of
from edgerkd.attacks.classifier import Array

Loss = Callable[..., tuple[Array, Array]]
"""(logits (n, k), then an array of n rows for each thing aimed at: labels, and targets) -> values, derivative."""

_TINY = 1e-12  # keeps the ratio of two equal logits finite; AutoAttack's own constant (Croce and Hein 2020, code)


def log_softmax(logits: Array) -> Array:
    """The logarithm of the softmax over the last axis, safe for large logits."""
    xp = array_namespace(logits)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def one_hot(labels: Array, like: Array) -> Array:
    """Labels (n,) as rows of zeros and a one, with the shape (n, k) and the type of `like`."""
    xp = array_namespace(like)
    classes = xp.arange(like.shape[-1], dtype=labels.dtype, device=device_of(labels))
    return xp.astype(labels[:, None] == classes[None, :], like.dtype)


def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """-log softmax(logits)[label]."""
    xp = array_namespace(logits)
    log_p, hot = log_softmax(logits), one_hot(labels, logits)
    return -xp.sum(hot * log_p, axis=-1), xp.exp(log_p) - hot


def kl_divergence(logits: Array, probabilities: Array) -> tuple[Array, Array]:
    """KL(probabilities; softmax(logits)). Source: RSLAD (ICCV 2021), eq. 6, inner step."""
    xp = array_namespace(logits)
    log_p = log_softmax(logits)
    log_t = xp.log(xp.clip(probabilities, 1e-30, 1.0))
    return xp.sum(probabilities * (log_t - log_p), axis=-1), xp.exp(log_p) - probabilities


def margin(logits: Array, labels: Array) -> tuple[Array, Array]:
    """The best wrong logit minus the right one: above zero means fooled. Source: Carlini and Wagner 2017, f6."""
    return margin_targeted(logits, labels, best_wrong(logits, labels))


def margin_targeted(logits: Array, labels: Array, targets: Array) -> tuple[Array, Array]:
    """The target's logit minus the right one."""
    xp = array_namespace(logits)
    direction = one_hot(targets, logits) - one_hot(labels, logits)
    return xp.sum(direction * logits, axis=-1), direction


def dlr(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Difference of logits ratio: the margin over z_1 - z_3, of the sorted logits; needs three classes.

    Source: Croce and Hein 2020, arXiv 2003.01690, eq. 6.
    """
    xp = array_namespace(logits)
    order = xp.argsort(logits, axis=-1, descending=True)
    scale = one_hot(order[:, 0], logits) - one_hot(order[:, 2], logits)
    return _ratio(margin(logits, labels), logits, scale)


def dlr_targeted(logits: Array, labels: Array, targets: Array) -> tuple[Array, Array]:
    """The targeted margin over z_1 - (z_3 + z_4) / 2; needs four classes. Source: Croce and Hein 2020, eq. 7."""
    xp = array_namespace(logits)
    order = xp.argsort(logits, axis=-1, descending=True)
    third = (one_hot(order[:, 2], logits) + one_hot(order[:, 3], logits)) / 2
    return _ratio(margin_targeted(logits, labels, targets), logits, one_hot(order[:, 0], logits) - third)


def best_wrong(logits: Array, labels: Array) -> Array:
    """The class (n,) of the largest logit apart from the label's."""
    xp = array_namespace(logits)
    lowest = xp.asarray(-xp.inf, dtype=logits.dtype, device=device_of(logits))
    return xp.argmax(xp.where(one_hot(labels, logits) > 0, lowest, logits), axis=-1)


def _ratio(numerator: tuple[Array, Array], logits: Array, scale: Array) -> tuple[Array, Array]:
    """numerator / sum(scale * logits), by the quotient rule."""
    xp = array_namespace(logits)
    value, slope = numerator
    size = xp.sum(scale * logits, axis=-1) + _TINY
    return value / size, slope / size[:, None] - (value / size**2)[:, None] * scale
