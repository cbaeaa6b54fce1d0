"""Images attacked in two steps, matched to label and remembered teacher, channel maps and statistics aligned. Ours.

Where the teacher is larger than the student, asking it costs more than a student's step: so it is asked about each
image before the run. Images that it gets wrong are left out; each of the others is attacked, and matched to the mean
of label and answer. Why so, why two steps, no clean term and these weights: what was tried is in docs/sources.md and
docs/measured/default.md. MixACM may come first.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from edgerkd.attacks.losses import kl_divergence, one_hot
from edgerkd.core.ranges import Count, Share, Weight
from edgerkd.core.recipe import is_large
from edgerkd.distill.losses.acm import acm_loss
from edgerkd.distill.losses.covariance import covariance_loss, gram_loss
from edgerkd.distill.methods import mixacm
from edgerkd.distill.methods.inner_attack import ascent, noisy_step, uniform_start
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step
from edgerkd.distill.teacher_outputs import CachedTeacherOutputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(mixacm.Options):
    """MixACM's, for the first part of the run, and those of the last; all ours. A weight of 0 leaves its term out."""

    adversarial_share: Share = 1.0
    """The last share of the run, in which the student sees adversarial images; MixACM before it."""
    steps: Count = 2
    """Of the attack in that share."""
    keep_misclassified: bool = False
    """Whether training images that the teacher gets wrong are shown as well."""
    label_share: Share = 0.5
    """Of the label beside the teacher's scores, in what adversarial images are matched to."""
    weight_acm_adv: Weight = 3.0
    """Of the last stage's channel map."""
    weight_cov: Weight = 0.1
    """Of the covariance of features."""
    weight_gram: Weight = 0.1
    """Of the Gram matrix of scores."""


def attack(step: Step[Options]) -> Tensor:
    """In the last `adversarial_share` of the run `steps` up KL(p; S(x')); before it the images themselves.

    A single step begins at noise of two radii, and is not brought back into the ball (N-FGSM). At a large radius such
    noise leaves little of an image: there, and where there are more, the steps are those of PGD from a point of the
    ball.
    """
    if not _late(step):
        return step.images
    p = target(step)

    def cotangent(z: Tensor) -> Tensor:
        return kl_divergence(z, p)[1]

    if step.options.steps > 1 or is_large(step.recipe.threat_model):
        return ascent(step, cotangent, start=uniform_start, steps=step.options.steps)
    return noisy_step(step, cotangent, training=False)


def terms(step: Step[Options], seen: Outputs) -> Terms:
    """MixACM's terms; later KL(p; S(x')), the distance of channel maps, and those of covariance and Gram matrix.

    The student's channel map of the last stage, its penultimate features, on x' is drawn to what is remembered of the
    teacher's on the image as it is: MixACM's own loss, where it costs no pass of the teacher. Its covariance is drawn
    to the teacher's likewise, so that the variance gap closes, and the Gram matrix of its scores. A weight of 0 leaves
    its term out.
    """
    if not _late(step):
        return mixacm.terms(step, seen)
    assert step.adapters is not None
    options, own, cached = step.options, seen.student, _cached(step)
    log_s = F.log_softmax(own.logits.float(), 1)
    found = {"kld_adv": F.kl_div(log_s, target(step), reduction="batchmean")}
    features = step.adapters(own.penultimate) if options.weight_acm_adv or options.weight_cov else own.penultimate
    if options.weight_acm_adv:
        found["acm_adv"] = options.weight_acm_adv * acm_loss(features, cached.penultimate)
    if options.weight_cov:
        found["cov_adv"] = options.weight_cov * covariance_loss(features, cached.penultimate)
    if options.weight_gram:
        scores = own.logits.float().softmax(1), cached.logits.softmax(1)
        found["gram_adv"] = options.weight_gram * gram_loss(*scores)
    return found


def target(step: Step[Options]) -> Tensor:
    """p (n, k): the teacher's remembered scores, with `label_share` of the label."""
    scores = _cached(step).logits.softmax(1)
    return scores.lerp(one_hot(step.labels, scores), step.options.label_share)


def select_samples(cached: CachedTeacherOutputs, labels: Tensor, options: Options) -> Tensor:
    """The rows of the images that the teacher itself gets right; with `keep_misclassified` of all.

    What a robust teacher cannot tell a small student will not resist on: its time is better spent elsewhere. Ours;
    that it can pay to leave out hard images is from Sorscher et al. 2022, arXiv 2206.14486, section 3.
    """
    kept = cached.logits.argmax(1) == labels
    return (kept | options.keep_misclassified).nonzero()[:, 0]


def _late(step: Step[Options]) -> bool:
    return step.past(1 - step.options.adversarial_share)


def _cached(step: Step) -> CachedTeacherOutputs:
    assert step.cached_teacher is not None
    return step.cached_teacher


METHOD = Method(
    name="edgerkd",
    description="adversarial images made in two steps, matched to the labels and to what the robust teacher "
    "said of the clean images, with channel maps and the covariance of features aligned to the teacher's",
    sources=(
        "ours, of the parts of N-FGSM: de Jorge et al., NeurIPS 2022, arXiv 2202.01181",
        "MixACM: Awais et al., NeurIPS 2021, arXiv 2111.05073",
        "Covariance and Gram alignment: Dong et al., ECCV 2024, doi 10.1007/978-3-031-73235-5_6",
    ),
    options=Options,
    attack=attack,
    terms=terms,
    needs_teacher=True,
    needs_adapters=True,
    compares_taps=lambda options: options.weight_acm > 0 and options.adversarial_share < 1,
    caches_teacher=True,
    select_samples=select_samples,
)
