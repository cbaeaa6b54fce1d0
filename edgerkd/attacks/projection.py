"""Staying inside the threat model."""

from array_api_compat import array_namespace

from edgerkd.attacks.classifier import Array


def project_linf(images_adv: Array, images: Array, eps: float) -> Array:
    """The nearest point of the L-inf ball around `images` that is also in [0, 1]."""
    xp = array_namespace(images)
    return xp.clip(images + xp.clip(images_adv - images, -eps, eps), 0.0, 1.0)
