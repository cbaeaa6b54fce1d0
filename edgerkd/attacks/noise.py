"""Random points of the ball: a control. What noise fools needs no attack, and no attack that finds no more is one.

Source: Carlini et al. 2019, arXiv 1902.06705, section 3 (random noise of the same size as a sanity check).
"""

from edgerkd.attacks.active_set import ActiveSet, AttackInputs
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.ball import random_start
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.attacks.losses import margin

POINTS = 10  # ours


def noise(classifier: Classifier, inputs: AttackInputs, *, points: int) -> Array:
    """Images (n, c, h, w): the first of so many random points that fools, else that of the highest margin."""
    active = ActiveSet(inputs)
    for number in range(points):
        if not active.left:
            break
        seeds = inputs.seeds(active.rows, "noise", number)
        x = random_start(active.images, eps=inputs.eps, norm=inputs.norm, seeds=seeds)
        logits = classifier.logits(x)
        active.record(x, logits, margin(logits, active.labels)[0])
    return active.images_adv


def _noise(classifier: Classifier, inputs: AttackInputs) -> Array:
    return noise(classifier, inputs, points=POINTS)


NOISE = Attack(
    id="noise",
    title="noise",
    description=f"{POINTS} random points of the ball: a control, not an attack",
    sources=("Carlini et al. 2019, arXiv 1902.06705, section 3",),
    source="noise",
    evidence="none",
    run=_noise,
)
ATTACKS = (NOISE,)
