"""One attack as a thing of its own: what it is called, what it is, where it comes from, and how it runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.classifier import Array, Classifier
from edgerkd.core.evaluation import Source

Run = Callable[[Classifier, AttackInputs], Array]
"""Gives adversarial images (n, c, h, w)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack, ready to run: `run(classifier, inputs)` gives adversarial images (n, c, h, w).

    `id` is what a user types and what reports store; `title` and `description` are shown. `evidence` says what its
    figure alone is worth: "none" of robustness (one step, or a loss that does not ask for the label), "little" (too
    short, it over-reports), or "good".
    """

    id: str
    title: str
    description: str
    sources: tuple[str, ...]
    source: Source
    run: Run
    evidence: Literal["none", "little", "good"] = "good"
    least_classes: int = 2
    """Fewer, and the margin stands in for its loss."""


def with_budget(attack: Attack, budget: int, unit: str, run: Run) -> Attack:
    """The same attack with another budget, as id `square:300` and title `Square, 300 queries`."""
    return replace(attack, id=f"{attack.id}:{budget}", title=f"{attack.title}, {budget} {unit}", run=run)
