"""All that changes while a network is trained: what a checkpoint holds."""

import copy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgerkd.core.recipe import Recipe
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.averaging import WeightAverage
from edgerkd.distill.checkpoint import Checkpoint, noise_state, restore_noise
from edgerkd.distill.kept_epoch import KeptEpoch
from edgerkd.distill.optimizer import Optimizer
from edgerkd.models.network import Network


@dataclass(slots=True, kw_only=True)
class EpochState:
    """How far the epoch under way is: `steps` done in `seconds`, the sums of its loss terms.

    `start` is the state of the random numbers when it began, which decides the order of its images.
    """

    start: Tensor
    steps: int = 0
    seconds: float = 0.0
    sums: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, terms: dict[str, Tensor]) -> None:
        """One step more."""
        self.steps += 1
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(term)) + term
            self.counts[name] = self.counts.get(name, 0) + 1


@dataclass(slots=True, kw_only=True)
class TrainState:
    """After `epoch` whole epochs and, of the next one, what `under_way` says.

    `best` are the averaged weights of the epoch `kept`.
    """

    student: Network
    adapters: Adapters | None
    optimizer: Optimizer
    average: WeightAverage
    generator: torch.Generator
    noise: np.random.Generator
    best: dict[str, Tensor]
    kept: KeptEpoch
    epoch: int = 0
    under_way: EpochState | None = None

    @classmethod
    def begin(cls, student: Network, adapters: Adapters | None, recipe: Recipe, *, n_val: int) -> "TrainState":
        """The state before the first step, random numbers of the recipe's seed. Epochs are judged on `n_val` images."""
        average = WeightAverage(student)
        return cls(
            student=student,
            adapters=adapters,
            optimizer=Optimizer(student, adapters.parameters() if adapters is not None else (), recipe),
            average=average,
            generator=torch.Generator().manual_seed(recipe.seed),
            noise=np.random.default_rng(recipe.seed),
            best=copy.deepcopy(average.network.state_dict()),
            kept=KeptEpoch(n=n_val),
        )

    def trained_adapters(self) -> Adapters | None:
        """The adapters without the maps that no step has moved, for those have no momentum; None if none is left."""
        if self.adapters is None:
            return None
        self.adapters.keep([name for name, p in self.adapters.named_parameters() if self.optimizer.moved(p)])
        return None if self.adapters.empty() else self.adapters

    def finite(self) -> bool:
        """Whether every number that is trained still is one."""
        return bool(torch.stack([p.detach().isfinite().all() for p in self.optimizer.parameters]).all())

    def note(self, *, robust: float, clean: float) -> None:
        """End an epoch of these accuracies on the validation split."""
        self.epoch += 1
        self.under_way = None
        self.kept = self.kept.after(self.epoch, robust=robust, clean=clean)
        if self.kept.epoch == self.epoch:
            self.best = copy.deepcopy(self.average.network.state_dict())

    def done(self, recipe: Recipe) -> bool:
        """Whether the last epoch is over, or the recipe's patience."""
        waited = self.epoch - self.kept.epoch
        return self.epoch >= recipe.epochs or (recipe.patience is not None and waited >= recipe.patience)

    def begin_epoch(self) -> EpochState:
        """The epoch under way, from its beginning where none is."""
        if self.under_way is None:
            self.under_way = EpochState(start=self.generator.get_state())
        return self.under_way

    def order(self, n: int) -> Tensor:
        """The order of the epoch's `n` images, the same whenever it is asked for."""
        under_way = self.begin_epoch()
        if under_way.steps == 0:  # the epoch's other random numbers follow those of its order
            return torch.randperm(n, generator=self.generator)
        again = torch.Generator()
        again.set_state(under_way.start)
        return torch.randperm(n, generator=again)

    def checkpoint(self) -> Checkpoint:
        """The state as it is stored."""
        states: dict[str, dict[str, Any]] = {name: part.state_dict() for name, part in self._parts().items()}
        scalars = {"updates": self.average.updates, "kept": asdict(self.kept)}
        under_way = None if self.under_way is None else asdict(self.under_way)
        return Checkpoint(
            epoch=self.epoch,
            states={**states, "best": self.best, "scalars": scalars, "under_way": under_way or {}},
            generator=self.generator.get_state(),
            noise=noise_state(self.noise),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a state that was stored."""
        for name, part in self._parts().items():
            part.load_state_dict(checkpoint.states[name])
        self.best, scalars = checkpoint.states["best"], checkpoint.states["scalars"]
        self.average.updates, self.kept = scalars["updates"], KeptEpoch(**scalars["kept"])
        self.epoch = checkpoint.epoch
        under_way = checkpoint.states["under_way"]
        self.under_way = EpochState(**under_way) if under_way else None
        self.generator.set_state(checkpoint.generator)
        restore_noise(self.noise, checkpoint.noise)

    def _parts(self) -> dict[str, nn.Module | Optimizer]:
        parts = {"student": self.student, "average": self.average.network, "optimizer": self.optimizer}
        return parts if self.adapters is None else {**parts, "adapters": self.adapters}
