"""MixACM first, then noisy single adversarial steps against what the teacher said once, statistics aligned. Ours.

Where the teacher is larger than the student, asking it costs more than a student's step: so it is asked about each
image before the run, and every adversarial image is matched to that answer. Why one step, no clean term and these
weights: what was tried is in docs/sources.md.
"""

from torch import Tensor

from edgerkd.attacks.losses import kl_divergence
from edgerkd.distill.losses.covariance import covariance_loss, gram_loss
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.memory import TeacherMemory
from edgerkd.distill.methods import mixacm
from edgerkd.distill.methods.inner_attack import noisy_step
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Answers, Step


def attack(step: Step) -> Tensor:
    """In the last `adversarial_share` of the run one noisy step up KL(T(x); S(x')); before it the images themselves."""
    if not _late(step):
        return step.images
    soft = _remembered(step).logits.softmax(1)
    return noisy_step(step, lambda z: kl_divergence(z, soft)[1], training=False)


def terms(step: Step, seen: Answers) -> Terms:
    """MixACM's terms; later KL(T(x); S(x')), and the relative distances of covariance and Gram matrix.

    T(x) is remembered, and so are the features whose covariance the student's on x' is drawn to: towards the
    teacher's on clean images, so that the variance gap closes. A weight of 0 leaves its term out.
    """
    if not _late(step):
        return mixacm.terms(step, seen)
    assert step.adapters is not None
    recipe, own, memory = step.recipe, seen.own, _remembered(step)
    found = {"kld_adv": kld_loss(own.logits, memory.logits)}
    if recipe.weight_cov:
        features = step.adapters(own.penultimate)
        found["cov_adv"] = recipe.weight_cov * covariance_loss(features, memory.penultimate)
    if recipe.weight_gram:
        scores = own.logits.float().softmax(1), memory.logits.softmax(1)
        found["gram_adv"] = recipe.weight_gram * gram_loss(*scores)
    return found


def _late(step: Step) -> bool:
    return step.progress >= 1 - step.recipe.adversarial_share


def _remembered(step: Step) -> TeacherMemory:
    assert step.memory is not None
    return step.memory


METHOD = Method(attack=attack, terms=terms, needs_teacher=True, needs_adapters=True, remembers=True)
