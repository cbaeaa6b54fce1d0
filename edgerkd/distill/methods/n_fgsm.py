"""Fast adversarial training with noise. Source: de Jorge et al., NeurIPS 2022, arXiv 2202.01181, algorithm 1."""

from torch import Tensor

from edgerkd.attacks.losses import cross_entropy
from edgerkd.distill.methods import pgd_at
from edgerkd.distill.methods.inner_attack import noisy_step
from edgerkd.distill.methods.method import Method, NoOptions
from edgerkd.distill.methods.step import Step


def attack(step: Step) -> Tensor:
    """One step up CE(S(x + noise), y), the student in training mode, as in fast training (Wong et al. 2020)."""
    return noisy_step(step, lambda z: cross_entropy(z, step.labels)[1], training=True)


METHOD = Method(
    name="n-fgsm",
    description="fast adversarial training (N-FGSM), without a teacher: one step of attack from a noisy image",
    sources=("N-FGSM: de Jorge et al., NeurIPS 2022, arXiv 2202.01181",),
    options=NoOptions,
    attack=attack,
    terms=pgd_at.terms,
    trains_teachers=True,
    single_step=True,
)
