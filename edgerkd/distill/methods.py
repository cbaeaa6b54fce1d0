"""Training methods: which inputs, which inner attack, which loss terms.

A method maps one `Step` to named loss terms, already weighted; the trainer sums them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgerkd.attacks.ball import project
from edgerkd.attacks.classifier import Cotangent
from edgerkd.attacks.losses import cross_entropy, kl_divergence
from edgerkd.attacks.pgd import ascend
from edgerkd.core.recipe import Recipe
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.losses.acm import acm_loss, activated_channel_map
from edgerkd.distill.losses.covariance import covariance_loss, gram_loss
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.losses.mixup import mixup, mixup_loss
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.network import Features, Network

Terms = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One batch as a method sees it: float images (n, c, h, w) in [0, 1], labels (n,), `progress` 0 to 1."""

    student: Network
    teacher: Network | None
    adapters: Adapters | None
    images: Tensor
    labels: Tensor
    recipe: Recipe
    progress: float
    generator: torch.Generator
    noise: np.random.Generator

    def distilling(self) -> tuple[Network, Adapters]:
        """The teacher and the adapters, which a distillation method must have."""
        assert self.teacher is not None
        assert self.adapters is not None
        return self.teacher, self.adapters

    def attack(self, cotangent: Cotangent) -> Tensor:
        """Images that maximise the loss of this derivative, for the student in evaluation mode, within the radius."""
        threat_model, steps = self.recipe.threat_model, self.recipe.attack_steps
        eps, norm = float(threat_model.eps), threat_model.norm
        training = self.student.training
        self.student.eval()
        autocast = torch.is_autocast_enabled(self.images.device.type)
        noise = torch.from_numpy(self.noise.uniform(-eps, eps, self.images.shape).astype(np.float32))
        *_, images_adv = ascend(
            TorchClassifier(self.student, autocast=autocast),
            self.images,
            project(self.images + noise.to(self.images.device), self.images, eps=eps, norm=norm),
            cotangent=cotangent,
            norm=norm,
            eps=eps,
            # Reaches every point of the ball from every start. Source: Madry et al. 2018, code.
            step_size=min(eps, 2.5 * eps / steps),
            steps=steps,
        )
        self.student.train(training)
        return images_adv


def standard(step: Step) -> Terms:
    """Cross-entropy on clean images: what everybody does, and no robustness comes of it."""
    return {"ce": F.cross_entropy(step.student(step.images).float(), step.labels)}


def pgd_at(step: Step) -> Terms:
    """Adversarial training. Source: Madry et al. 2018, arXiv 1706.06083, eq. 2.1."""
    images_adv = step.attack(lambda z: cross_entropy(z, step.labels)[1])
    return {"ce_adv": F.cross_entropy(step.student(images_adv).float(), step.labels)}


def mixacm(step: Step) -> Terms:
    """MixACM: activated channel maps, soft labels and mixup; no adversarial image is made.

    Source: Awais et al., NeurIPS 2021, figures 1 and 2; the weights are ours.
    """
    teacher, adapters = step.distilling()
    recipe = step.recipe
    lam = float(step.noise.beta(recipe.mixup_alpha, recipe.mixup_alpha))
    mixture = mixup(step.images, step.labels, lam=lam, generator=step.generator)
    target = _frozen(teacher, mixture.images)
    own = step.student.features(mixture.images)
    acm = [
        acm_loss(adapter(activated_channel_map(s).float()), activated_channel_map(t))
        for adapter, s, t in adapters.pairs(own.taps, target.taps)
    ]
    return {
        "mix": mixup_loss(own.logits, mixture),
        "kld": recipe.weight_kld * kld_loss(own.logits, target.logits, temperature=recipe.temperature),
        "acm": recipe.weight_acm * torch.stack(acm).sum(),
    }


def covariance_alignment(step: Step) -> Terms:
    """Robust soft labels with feature covariance and score Gram matrices aligned, on clean and adversarial images.

    The base is RSLAD (ICCV 2021), eq. 6 and 7; the alignment Dong et al., ECCV 2024; its weights are ours.
    """
    teacher, adapters = step.distilling()
    recipe = step.recipe
    target = _frozen(teacher, step.images)
    soft = target.logits.float().softmax(1)
    images_adv = step.attack(lambda z: kl_divergence(z, soft)[1])
    target_adv = _frozen(teacher, images_adv)
    both = step.student.features(torch.cat([step.images, images_adv]))
    own, own_adv = _split(both, len(step.images))
    terms = {
        "kld": recipe.weight_clean * kld_loss(own.logits, target.logits),
        "kld_adv": (1 - recipe.weight_clean) * kld_loss(own_adv.logits, target.logits),
    }
    for name, student, fixed in (("", own, target), ("_adv", own_adv, target_adv)):
        terms[f"cov{name}"] = recipe.weight_cov * covariance_loss(adapters(student.penultimate), fixed.penultimate)
        scores = student.logits.float().softmax(1), fixed.logits.float().softmax(1)
        terms[f"gram{name}"] = recipe.weight_gram * gram_loss(*scores)
    return terms


def edgerkd(step: Step) -> Terms:
    """Cheap MixACM epochs first, then covariance alignment on clean and adversarial images. The order is ours."""
    late = step.progress >= 1 - step.recipe.adversarial_share
    return covariance_alignment(step) if late else mixacm(step)


METHODS: dict[str, Callable[[Step], Terms]] = {
    "standard": standard,
    "pgd-at": pgd_at,
    "mixacm": mixacm,
    "edgerkd": edgerkd,
}
NEEDS_TEACHER = frozenset({"mixacm", "edgerkd"})


@torch.no_grad()
def _frozen(teacher: Network, images: Tensor) -> Features:
    return teacher.features(images)


def _split(features: Features, n: int) -> tuple[Features, Features]:
    """The features of the first `n` images of a batch, and of the rest."""
    parts = [
        Features(features.logits[rows], tuple(t[rows] for t in features.taps), features.penultimate[rows])
        for rows in (slice(None, n), slice(n, None))
    ]
    return parts[0], parts[1]
