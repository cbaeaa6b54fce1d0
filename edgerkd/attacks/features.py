"""PGD on what was distilled: away from the teacher's features. Source: Tramer et al. 2020, arXiv 2002.08347, section 3.

A defence that matches features must be attacked at its features.
"""

from edgerkd.attacks.attack import Attack, AttackFacts
from edgerkd.attacks.classifier import Classifier
from edgerkd.attacks.losses import margin
from edgerkd.attacks.pgd import pgd

STEPS = 40  # ours

FEATURES = AttackFacts(
    id="pgd-40-features",
    title=f"PGD-{STEPS} features",
    description="projected gradient ascent on the distance between the student's features and the teacher's",
    sources=("Tramer et al. 2020, arXiv 2002.08347, section 3",),
    source="direct",
)

ATTACKS = (FEATURES,)


def at_features(distance: Classifier) -> Attack:
    """PGD on the gradient that `distance` gives, in steps of a quarter of the radius.

    Its logits are the student's. Of the iterates the first that fools is kept, else that of the highest margin.
    """
    return FEATURES.ready(lambda _, inputs: pgd(distance, inputs, loss=margin, steps=STEPS, step_size=inputs.eps / 4))
