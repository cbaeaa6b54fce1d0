"""Cheap MixACM epochs first, then covariance alignment on clean and adversarial images. The order is ours."""

from torch import Tensor

from edgerkd.distill.methods import covariance, mixacm
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Answers, Step


def _late(step: Step) -> bool:
    return step.progress >= 1 - step.recipe.adversarial_share


def attack(step: Step) -> Tensor:
    """Covariance alignment's adversarial images in the last share of the run, before it the images themselves."""
    return covariance.attack(step) if _late(step) else step.images


def terms(step: Step, seen: Answers) -> Terms:
    """MixACM's terms, and in the last share of the run those of covariance alignment."""
    return (covariance if _late(step) else mixacm).terms(step, seen)


METHOD = Method(attack=attack, terms=terms, needs_teacher=True, needs_adapters=True)
