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
class AttackFacts:
    """What is said of an attack: reports store its `id`, and show its `title`.

    `source` says where its images come from; `sources` are papers, or "ours". `unit` is what its budget counts.
    """

    id: str
    title: str
    description: str
    sources: tuple[str, ...]
    source: Source
    unit: Literal["steps", "queries"] = "steps"

    def ready(self, run: Run) -> "Attack":
        """The attack that `run` carries out."""
        return Attack(
            id=self.id,
            title=self.title,
            description=self.description,
            sources=self.sources,
            source=self.source,
            unit=self.unit,
            run=run,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack(AttackFacts):
    """One attack, ready to run. A user types its `id`.

    `evidence` is what its figure alone is worth: "none" of robustness (one step, or a loss that does not ask for the
    label), "little" (too short: it over-reports), or "good".
    """

    run: Run
    evidence: Literal["none", "little", "good"] = "good"
    least_classes: int = 2
    """For its own loss; of fewer classes the margin stands in for it."""

    def with_budget(self, budget: int, run: Run) -> "Attack":
        """The same with another budget, which its id names: `square:300`."""
        return replace(self, id=f"{self.id}:{budget}", title=f"{self.title}, {budget} {self.unit}", run=run)
