"""Fast adversarial training with noise. Source: de Jorge et al., NeurIPS 2022, arXiv 2202.01181 (N-FGSM)."""

from torch import Tensor

from edgerkd.attacks.ball import steepest
from edgerkd.attacks.losses import cross_entropy
from edgerkd.core.errors import ConfigError
from edgerkd.distill.methods import pgd_at
from edgerkd.distill.methods.inner_attack import mode, uniform_noise
from edgerkd.distill.methods.method import Method
from edgerkd.distill.methods.step import Step
from edgerkd.models.classifier import TorchClassifier

NOISE = 2.0  # in radii: the paper's k, as its default


def attack(step: Step) -> Tensor:
    """x + noise of up to 2 eps + one step of eps up CE(S(x + noise), y), into [0, 1] and not into the ball.

    The paper finds that it is the clipping to the ball that lets single-step training collapse. The
    student is in training mode, as in the code of fast adversarial training (Wong et al. 2020).
    Raises ConfigError for another threat model than Linf, for which the noise is not defined.
    """
    threat_model = step.recipe.threat_model
    if threat_model.norm != "Linf":
        raise ConfigError(f"method n-fgsm trains against Linf, not {threat_model.norm}: take method pgd-at")
    eps = float(threat_model.eps)
    noisy = (step.images + uniform_noise(step, NOISE * eps)).clamp(0, 1)
    with mode(step.student, training=True):
        _, gradient = TorchClassifier(step.student).gradient(noisy, lambda z: cross_entropy(z, step.labels)[1])
    return (noisy + eps * steepest(gradient, threat_model.norm)).clamp(0, 1)


METHOD = Method(attack=attack, terms=pgd_at.terms)
