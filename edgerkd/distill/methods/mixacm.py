"""MixACM: activated channel maps, soft labels and mixup; no adversarial image is made.

Source: Awais et al., NeurIPS 2021, arXiv 2111.05073, figures 1 and 2; the weights are ours. `maps=spatial` is ours as
well: the maps keep their places, and the mixtures are noisy.
"""

from dataclasses import dataclass

from torch import Tensor

from edgerkd.core.errors import ConfigError
from edgerkd.core.ranges import Positive, Weight
from edgerkd.core.record import Record
from edgerkd.distill.losses.acm import Maps, taps_loss
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.losses.mixup import mixup, mixup_loss
from edgerkd.distill.methods.method import Method, Terms
from edgerkd.distill.methods.step import Outputs, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Record):
    """The mixture and the weights of its terms, all ours; a weight of 0 leaves its term out."""

    maps: Maps = "channel"
    """What of a stage's output is compared: a value per channel, as published, or one per channel and place."""
    noise: Weight = 1.0
    """Of mixtures whose spatial maps are compared: uniform, in radii."""
    mixup_alpha: Weight = 1.0
    """Both parameters of the mixing share's beta distribution; 0 mixes nothing."""
    temperature: Positive = 1.0
    """Of the soft labels."""
    weight_label: Weight = 0.0
    """Of the cross-entropy with the labels."""
    weight_acm: Weight = 100.0
    """Of the maps."""
    weight_kld: Weight = 1.0
    """Of the soft labels."""


def terms(step: Step[Options], _: Outputs) -> Terms:
    """The label loss, soft labels and channel maps of one mixture; a weight of 0 leaves its term out.

    A `mixup_alpha` of 0 mixes nothing. Raises ConfigError where all three weights are 0.
    """
    assert step.adapters is not None
    options = step.options
    lam = step.noise.beta(options.mixup_alpha)
    order = step.noise.permutation(len(step.images), step.generator)
    mixture = mixup(step.images, step.labels, lam=lam, order=order)
    mixed = step.outputs(_noisy(step, mixture.images))
    found: Terms = {}
    if options.weight_label:
        found["mix"] = options.weight_label * mixup_loss(mixed.student.logits, mixture)
    if options.weight_kld:
        soft = kld_loss(mixed.student.logits, mixed.teacher.logits, temperature=options.temperature)
        found["kld"] = options.weight_kld * soft
    if options.weight_acm:
        found["acm"] = options.weight_acm * taps_loss(
            step.adapters.pairs(mixed.student.taps, mixed.teacher.taps), options.maps
        )
    if not found:
        raise ConfigError("weight_label, weight_kld and weight_acm are all 0: method mixacm needs one above 0")
    return found


def _noisy(step: Step[Options], images: Tensor) -> Tensor:
    if step.options.maps == "channel" or not step.options.noise:
        return images
    return (images + step.noise.uniform(images.shape, step.options.noise * step.eps)).clamp(0, 1)


METHOD = Method(
    name="mixacm",
    description="MixACM distillation: the robust teacher's channel maps and soft labels on mixed images; "
    "no adversarial image is made",
    sources=("MixACM: Awais et al., NeurIPS 2021, arXiv 2111.05073",),
    options=Options,
    terms=terms,
    needs_teacher=True,
    needs_adapters=True,
    compares_taps=lambda options: options.weight_acm > 0,
)
