"""The training loop: one program, read from top to bottom."""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ConfigError, DivergedError
from edgerkd.core.progress import Advance, Progress
from edgerkd.core.recipe import Recipe
from edgerkd.data.augment import augment
from edgerkd.data.dataset import Dataset, to_float
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.averaging import ema_share, swa_share
from edgerkd.distill.checkpoint import load_checkpoint, save_checkpoint
from edgerkd.distill.global_batch_norm import with_global_batch_norm
from edgerkd.distill.methods.registry import METHODS, NEEDS_TEACHER
from edgerkd.distill.methods.step import Step
from edgerkd.distill.parallel import ONE, Parallel, PartNoise
from edgerkd.distill.schedule import rate_share
from edgerkd.distill.state import TrainState
from edgerkd.distill.teacher_outputs import CachedTeacherOutputs, cache_teacher_outputs
from edgerkd.distill.validation import Validation, validate
from edgerkd.models.hardware import bf16_pays
from edgerkd.models.network import Network


class Trained(NamedTuple):
    """A trained network, and the last epoch's adapters to its teacher: the maps that its method trained."""

    network: Network
    adapters: Adapters | None


def train(
    student: Network,
    dataset: Dataset,
    recipe: Recipe,
    *,
    teacher: Network | None,
    checkpoint: Path | None,
    resume: bool,
    on_epoch: Callable[[Epoch], None],
    progress: Progress,
    ranks: Parallel = ONE,
) -> Trained:
    """Train `student` and return its averaged weights of the epoch that was best on the validation split.

    Best means the highest PGD-10 accuracy there (clean accuracy for method standard); the test split
    is never looked at. With `checkpoint`, the state is written there after each epoch, and `resume`
    goes on from it, on a CPU to the same weights as an uninterrupted run (on a GPU sums may be taken in
    another order). `ranks`: several processes each takes its part of every batch, all return the same
    network, and the first alone writes and calls `on_epoch`.
    Raises DivergedError, the last good state kept, and ConfigError for a method without the teacher
    it needs, or a batch that the processes cannot share.
    """
    loop = Loop.begin(student, dataset, recipe, teacher=teacher, ranks=ranks)
    state = loop.state
    if resume and checkpoint is not None and checkpoint.exists():
        state.restore(load_checkpoint(checkpoint, recipe))
    if METHODS[recipe.method].caches_teacher and not state.done(recipe):
        loop = loop.with_cached_teacher(progress)
    shown = f"{len(loop.rows):,} of {len(dataset.train):,} images"
    with progress.stage(f"{recipe.method}: training on {shown}", recipe.epochs * loop.steps) as advance:
        while not state.done(recipe):
            epoch = loop.epoch(advance, kept=checkpoint)
            if not ranks.first:
                continue
            # The line first: a repeated epoch writes it again, a missing one would be missing for good.
            on_epoch(epoch)
            if checkpoint is not None:
                save_checkpoint(checkpoint, state.checkpoint(), recipe)
    network = state.average.network
    network.load_state_dict(state.best)
    return Trained(network.requires_grad_(True), state.trained_adapters())


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One training run: what stays the same from step to step, and the `state`, which does not."""

    dataset: Dataset
    recipe: Recipe
    teacher: Network | None
    ranks: Parallel
    autocast: bool
    batch: int
    state: TrainState
    rows: Tensor
    """Of the training images that an epoch shows."""
    cached_teacher: CachedTeacherOutputs | None = None

    @classmethod
    def begin(
        cls, student: Network, dataset: Dataset, recipe: Recipe, *, teacher: Network | None, ranks: Parallel = ONE
    ) -> "Loop":
        """Everything on the device, before the first step. Raises ConfigError as `train` does."""
        device = ranks.device
        if recipe.method in NEEDS_TEACHER and teacher is None:
            raise ConfigError(f"method {recipe.method} needs a teacher: name one with --teacher")
        batch = min(recipe.batch, len(dataset.train))
        if batch % ranks.world:
            raise ConfigError(
                f"a batch of {batch} images cannot be shared by {ranks.world} processes: "
                f"--set batch={batch // ranks.world * ranks.world or ranks.world}"
            )
        adapters = None
        if teacher is not None:
            teacher = teacher.to(device).eval().requires_grad_(False)
            if METHODS[recipe.method].needs_adapters:
                torch.manual_seed(recipe.seed)
                adapters = Adapters(student.architecture, teacher.architecture).to(device)
        state = TrainState.begin(student.to(device), adapters, recipe)
        if ranks.world > 1:
            with_global_batch_norm(student, ranks)
        return cls(
            dataset=replace(dataset, train=dataset.train.to(device), val=dataset.val.to(device)),
            recipe=recipe,
            teacher=teacher,
            ranks=ranks,
            autocast=bf16_pays(device),
            batch=batch,
            state=state,
            rows=torch.arange(len(dataset.train), device=device),
        )

    def with_cached_teacher(self, progress: Progress) -> "Loop":
        """The same loop, with the teacher asked about every training image."""
        assert self.teacher is not None
        with progress.stage("asking the teacher", len(self.dataset.train)) as advance:
            cached = cache_teacher_outputs(
                self.teacher,
                self.dataset.train,
                batch=self.batch,
                autocast=self.autocast,
                after=lambda done: advance(done, "about each training image"),
            )
        # The mean is for several processes: all must choose the same images, to the last bit.
        cached = replace(cached, logits=self.ranks.mean(cached.logits))
        choose = METHODS[self.recipe.method].select_samples
        rows = self.rows if choose is None else choose(cached, self.dataset.train.labels, self.recipe)
        return replace(self, cached_teacher=cached, rows=rows if len(rows) >= self.batch else self.rows)

    @property
    def steps(self) -> int:
        """Steps an epoch; the images of an incomplete last batch are left out."""
        return len(self.rows) // self.batch

    def epoch(self, advance: Advance, *, kept: Path | None) -> Epoch:
        """One pass over what an epoch shows, validated. Raises DivergedError, which names the checkpoint `kept`."""
        recipe, state, first = self.recipe, self.state, self.state.epoch * self.steps
        started = time.perf_counter()
        state.student.train()
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = defaultdict(int)
        order = self.rows[torch.randperm(len(self.rows), generator=state.generator).to(self.ranks.device)]
        for step, rows in enumerate(order[: self.steps * self.batch].split(self.batch)):
            for name, term in self.step(rows, (first + step) / (recipe.epochs * self.steps)).items():
                sums[name] = sums.get(name, 0) + term
                counts[name] += 1
            speed = (step + 1) * self.batch / (time.perf_counter() - started)
            advance(first + step + 1, f"epoch {state.epoch + 1}/{recipe.epochs}, {speed:.0f} images/s")
        totals = self.ranks.mean(torch.stack(list(sums.values())))
        terms = {name: float(total) / counts[name] for name, total in zip(sums, totals, strict=True)}
        if not (all(map(math.isfinite, terms.values())) and state.finite()):
            said = f"; the state before this epoch is kept in {kept}" if kept is not None and state.epoch > 0 else ""
            raise DivergedError(
                f"loss or weights are no longer finite in epoch {state.epoch + 1} ({terms}){said}: "
                "start a new run with another --seed, --method or --epochs, or with --set lr_muon=..., lr=... or "
                "optimizer=sgd"
            )
        seconds = time.perf_counter() - started
        if recipe.averaging == "swa":
            self._average_equally()
        clean, robust, gap = self._validate()
        state.note((clean, 0.0) if recipe.method == "standard" else (robust, clean))
        return Epoch(
            epoch=state.epoch,
            terms=terms,
            val_clean_acc=clean,
            val_robust_acc=robust,
            val_variance_gap=None if math.isnan(gap) else gap,
            lr=recipe.lr * state.optimizer.share,
            seconds=seconds,
            images_per_second=self.steps * self.batch / seconds,
        )

    def step(self, rows: Tensor, progress: float) -> dict[str, Tensor]:
        """One optimisation step on these training images; returns the loss terms. `progress` is 0 to 1 of the run."""
        recipe, state, ranks = self.recipe, self.state, self.ranks
        state.optimizer.set_rates(rate_share(progress, recipe))
        images = self.dataset.train.images[rows]
        side = round(recipe.cutout * images.shape[2])
        # All of the batch is augmented, so that random numbers do not depend on how many processes there are.
        images = ranks.part(augment(images, self.dataset, side=side, generator=state.generator))
        rows = ranks.part(rows)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.autocast):
            terms = METHODS[recipe.method](
                Step(
                    student=state.student,
                    teacher=self.teacher,
                    adapters=state.adapters,
                    images=to_float(images),
                    labels=self.dataset.train.labels[rows],
                    cached_teacher=None if self.cached_teacher is None else self.cached_teacher.rows(rows),
                    recipe=recipe,
                    progress=progress,
                    generator=state.generator,
                    noise=state.noise if ranks.world == 1 else PartNoise(state.noise, ranks),
                )
            )
        state.optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        ranks.average_gradients(state.optimizer.parameters)
        if recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(state.optimizer.parameters, recipe.clip_norm)
        state.optimizer.step()
        if recipe.averaging == "ema":
            state.average.update(state.student, ema_share(state.average.updates, recipe.ema_decay))
        return {name: term.detach() for name, term in terms.items()}

    def _average_equally(self) -> None:
        """Take the epoch that ends into the equal average; before `swa_start` the average is the network itself."""
        recipe, average, student = self.recipe, self.state.average, self.state.student
        if (self.state.epoch + 1) / recipe.epochs <= recipe.swa_start:
            average.move(student, 1.0)
            return
        average.update(student, swa_share(average.updates))
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.autocast):
            average.measure_batch_norm(map(to_float, self.dataset.train.images.split(self.batch)))

    def _validate(self) -> Validation:
        """The averaged weights' accuracies; every process gets the same bits."""
        network, val = self.state.average.network, self.dataset.val
        found = validate(network, val, self.recipe.threat_model, autocast=self.autocast)
        return Validation(*self.ranks.mean(torch.tensor(found, dtype=torch.float64)).tolist())
