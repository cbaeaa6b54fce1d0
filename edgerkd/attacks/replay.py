"""Adversarial images made earlier, shown again. Ours: they tell what carries over, and find no new weakness.

Those of another network may find one: they do not follow this one's gradients, which may mislead. Source: Carlini et
al. 2019, arXiv 1902.06705, section 4 (transfer attacks).
"""

from dataclasses import replace

from edgerkd.attacks.attack import Attack, AttackFacts
from edgerkd.attacks.classifier import Array

REPLAY = AttackFacts(
    id="replay",
    title="replay",
    description="images made on the host against the original network, shown again",
    sources=("ours",),
    source="replay",
)

TRANSFER = AttackFacts(
    id="transfer",
    title="transfer",
    description="images made on the host against another network",
    sources=("Carlini et al. 2019, arXiv 1902.06705, section 4",),
    source="transfer",
)

ATTACKS = (REPLAY, TRANSFER)


def replayed(images_adv: Array) -> Attack:
    """The attack that hands out the stored images (N, c, h, w), of which the inputs' `index` names the rows."""
    return REPLAY.ready(lambda _, inputs: images_adv[inputs.index])


def transferred(images_adv: Array, origin: str) -> Attack:
    """The same with images made against another network, which `origin` names."""
    ready = TRANSFER.ready(lambda _, inputs: images_adv[inputs.index])
    return replace(ready, id=f"{TRANSFER.id}:{origin}", title=f"{TRANSFER.title} from {origin}")
