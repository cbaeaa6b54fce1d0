"""Adversarial images made earlier, shown again. Ours: they tell what carries over, and find no new weakness."""

from edgerkd.attacks.attack import Attack, AttackFacts
from edgerkd.attacks.classifier import Array

REPLAY = AttackFacts(
    id="replay",
    title="replay",
    description="images made on the host against the original network, shown again",
    sources=("ours",),
    source="replay",
)

ATTACKS = (REPLAY,)


def replayed(images_adv: Array) -> Attack:
    """The attack that hands out the stored images (N, c, h, w), of which the inputs' `index` names the rows."""
    return REPLAY.ready(lambda _, inputs: images_adv[inputs.index])
