"""What attacks maximise: each loss gives its value per image (n,) and its derivative in the logits (n, k).

The derivatives are written out, so that an engine without automatic differentiation can be attacked.
"""

from collections.abc import Callable

from array_api_compat import array_namespace

from edgerkd.attacks.classifier import Array

Loss = Callable[[Array], tuple[Array, Array]]
"""logits (n, k) -> (values (n,), derivative (n, k))."""


def log_softmax(logits: Array) -> Array:
    """The logarithm of the softmax over the last axis, safe for large logits."""
    xp = array_namespace(logits)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def one_hot(labels: Array, classes: int, like: Array) -> Array:
    """Labels (n,) as rows (n, classes) of zeros and a one, with the type of `like`."""
    xp = array_namespace(labels)
    return xp.astype(
        labels[:, None] == xp.arange(classes, dtype=labels.dtype, device=labels.device)[None, :], like.dtype
    )


def cross_entropy(labels: Array) -> Loss:
    """-log softmax(logits)[label]; untargeted."""

    def loss(logits: Array) -> tuple[Array, Array]:
        xp = array_namespace(logits)
        log_p = log_softmax(logits)
        hot = one_hot(labels, logits.shape[-1], logits)
        return -xp.sum(hot * log_p, axis=-1), xp.exp(log_p) - hot

    return loss


def margin(labels: Array) -> Loss:
    """The best wrong logit minus the right one: above zero means fooled. Source: Carlini and Wagner 2017, f6."""

    def loss(logits: Array) -> tuple[Array, Array]:
        xp = array_namespace(logits)
        hot = one_hot(labels, logits.shape[-1], logits)
        wrong = xp.where(hot > 0, xp.asarray(-xp.inf, dtype=logits.dtype, device=logits.device), logits)
        best = one_hot(xp.argmax(wrong, axis=-1), logits.shape[-1], logits)
        return xp.sum((best - hot) * logits, axis=-1), best - hot

    return loss


def kl_divergence(targets: Array) -> Loss:
    """KL(target; softmax(logits)) for target probabilities (n, k). Source: RSLAD (ICCV 2021), eq. 6, inner step."""

    def loss(logits: Array) -> tuple[Array, Array]:
        xp = array_namespace(logits)
        log_p = log_softmax(logits)
        log_t = xp.log(xp.clip(targets, 1e-30, 1.0))
        return xp.sum(targets * (log_t - log_p), axis=-1), xp.exp(log_p) - targets

    return loss
