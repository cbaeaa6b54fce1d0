"""The attack inside training: projected gradient ascent by the suite's own loop (edgerkd/attacks/pgd.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from edgerkd.attacks.ball import project, steepest
from edgerkd.attacks.classifier import Cotangent
from edgerkd.attacks.pgd import ascend
from edgerkd.core.errors import ConfigError
from edgerkd.distill.methods.step import Step
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.fold import folded

Start = Callable[[Step], Tensor]

NOISE = 2.0  # in radii, before a single step; the k of N-FGSM (de Jorge et al. 2022, arXiv 2202.01181)


def uniform_noise(step: Step, radius: float) -> Tensor:
    """Noise like the batch, uniform between -radius and radius."""
    noise = step.noise.random(tuple(step.images.shape), np.float32)
    noise *= 2
    noise -= 1
    noise *= np.float32(radius)
    return torch.from_numpy(noise).to(step.images.device)


def uniform_start(step: Step) -> Tensor:
    """A point of the ball around each image. Source: Madry et al. 2018, arXiv 1706.06083, section 4."""
    return _projected(step, uniform_noise(step, step.eps))


def gaussian_start(step: Step) -> Tensor:
    """Each image with noise of 0.001: next to it, and off the point where a KL divergence has no gradient.

    Source: the code of TRADES (Zhang et al. 2019), taken over by RSLAD and AdaAD.
    """
    noise = step.noise.standard_normal(tuple(step.images.shape), np.float32) * np.float32(0.001)
    return _projected(step, torch.from_numpy(noise).to(step.images.device))


def ascent(
    step: Step,
    cotangent: Cotangent,
    *,
    start: Start,
    training: bool = False,
    network: nn.Module | None = None,
    steps: int | None = None,
) -> Tensor:
    """Images in the threat model that maximise the loss of this derivative in the logits of `network`.

    The network is the student unless another is named, in evaluation mode and with its batch norms folded (a
    fifth faster), or with `training` in training mode, where each step moves its batch-norm statistics. The
    step size is 2.5 eps / steps, as in the code of Madry et al. 2018 (2/255 for ten steps of 8/255), with
    which every point of the ball can be reached from every other; but eps at most. `steps` are the recipe's unless
    given.
    """
    eps, steps, norm = step.eps, steps or step.recipe.attack_steps, step.recipe.threat_model.norm
    if eps == 0:
        return step.images
    autocast = torch.is_autocast_enabled(step.images.device.type)
    if network is None:
        network = step.student if training else folded(step.student)
    with mode(step.student, training=training):
        *_, images_adv = ascend(
            TorchClassifier(network, autocast=autocast),
            step.images,
            start(step),
            cotangent=cotangent,
            norm=norm,
            eps=eps,
            step_size=min(eps, 2.5 * eps / steps),
            steps=steps,
        )
    return images_adv


def noisy_step(step: Step, cotangent: Cotangent, *, training: bool) -> Tensor:
    """x + noise of up to 2 eps + one step of eps up the loss there, into [0, 1] and not into the ball.

    N-FGSM's finding: it is the clipping to the ball that lets training on single steps collapse. The student is
    in training mode with `training`, else in evaluation mode and folded. Raises ConfigError for another
    threat model than Linf, for which the noise is not defined.
    """
    recipe, eps = step.recipe, step.eps
    if recipe.threat_model.norm != "Linf":
        raise ConfigError(
            f"method {recipe.method} trains against Linf, not L2: take one whose attack is more than a noisy step"
        )
    noisy = (step.images + uniform_noise(step, NOISE * eps)).clamp(0, 1)
    network = step.student if training else folded(step.student)
    autocast = torch.is_autocast_enabled(step.images.device.type)
    with mode(step.student, training=training):
        _, gradient = TorchClassifier(network, autocast=autocast).gradient(noisy, cotangent)
    return (noisy + eps * steepest(gradient, "Linf")).clamp(0, 1)


@contextmanager
def mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """The network in training or evaluation mode, and then again as it was."""
    before = network.training
    network.train(training)
    try:
        yield
    finally:
        network.train(before)


def _projected(step: Step, noise: Tensor) -> Tensor:
    return project(step.images + noise, step.images, eps=step.eps, norm=step.recipe.threat_model.norm)
