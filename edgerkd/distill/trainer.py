"""The training loop: one program, read from top to bottom."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ArtefactError, ConfigError, DivergedError
from edgerkd.core.progress import Advance, Progress
from edgerkd.core.recipe import Recipe
from edgerkd.core.units import duration
from edgerkd.data.augment import augment
from edgerkd.data.dataset import Dataset, to_float
from edgerkd.distill import replay
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.averaging import ema_share, swa_share
from edgerkd.distill.checkpoint import load_checkpoint, save_checkpoint
from edgerkd.distill.epoch_line import epoch_line
from edgerkd.distill.global_batch_norm import with_global_batch_norm
from edgerkd.distill.methods.method import AnyMethod, Terms
from edgerkd.distill.methods.recipes import options_of
from edgerkd.distill.methods.registry import load_method
from edgerkd.distill.methods.step import Step
from edgerkd.distill.moment import Moment
from edgerkd.distill.noise import KeptNoise, Noise
from edgerkd.distill.parallel import ONE, Parallel
from edgerkd.distill.replay import Replay
from edgerkd.distill.schedule import rate_share
from edgerkd.distill.state import TrainState
from edgerkd.distill.teacher_outputs import CachedTeacherOutputs, cache_teacher_outputs
from edgerkd.distill.validation import Validation, validate
from edgerkd.models.hardware import bf16_pays
from edgerkd.models.network import Network

FIRST_STEPS = 10  # after which the run's cost is told, by the later half, for a GPU begins slowly; ours
KEEP_SECONDS, KEEP_SHARE = 60.0, 0.02  # between two checkpoints within an epoch, and of the time they may take; ours


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
    adapters: Adapters | None = None,
) -> Trained:
    """Train `student` and return its averaged weights of the epoch that was best on the validation split.

    Best means as robust under PGD-10 as any there, within what its images can tell, and of such epochs the most
    accurate (`KeptEpoch`; the most accurate of all for method standard); the test split is never looked at. With
    `checkpoint`, the state is written there after each epoch and every minute within one, and `resume` goes on from
    it, on a CPU to the same weights as an uninterrupted run (on a GPU sums may be taken in another order). `progress`
    hears what the run will take, once its first steps tell. Of several `ranks` each takes its part of every batch, all
    return the same network, and the first alone writes and calls `on_epoch`. `adapters` are maps to the teacher that go
    on from what they have learned.
    Raises DivergedError, the last good state kept, and ConfigError for a method without the teacher
    it needs, or a batch that the processes cannot share.
    """
    loop = Loop.begin(student, dataset, recipe, teacher=teacher, ranks=ranks, adapters=adapters)
    state = loop.state
    if resume and checkpoint is not None and checkpoint.exists():
        try:
            state.restore(load_checkpoint(checkpoint, recipe))
        except ArtefactError as e:
            raise ArtefactError(f"{e}: start a new run") from e
    if loop.method.caches_teacher and not state.done(recipe):
        loop = loop.with_cached_teacher(progress)
    shown = f"{len(loop.rows):,} of {len(dataset.train):,} images"
    with progress.stage(f"{recipe.method}: training on {shown}", recipe.epochs * loop.steps) as advance:
        keeper = Keeper(checkpoint if ranks.first else None, state, recipe)
        while not state.done(recipe):
            best = state.kept.most if loop.method.keeps_best == "robust" else 0.0
            epoch = loop.epoch(advance, keeper=keeper, say=progress.say)
            progress.log(epoch_line(epoch, recipe, best))
            if ranks.first:
                on_epoch(epoch)  # the line first: a repeated epoch writes it again, a missing one is missing for good
            keeper.keep()
    network = state.average.network
    network.load_state_dict(state.best)
    return Trained(network.requires_grad_(True), state.trained_adapters())


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One training run: what stays the same from step to step, and the `state`, which does not."""

    dataset: Dataset
    recipe: Recipe
    method: AnyMethod
    options: Any  # the method's own
    teacher: Network | None
    ranks: Parallel
    autocast: bool
    batch: int
    state: TrainState
    rows: Tensor
    """Of the training images that an epoch shows."""
    cached_teacher: CachedTeacherOutputs | None = None
    repeats: Replay | None = None
    """Of what steps compute, on a GPU that a single process trains on."""

    @classmethod
    def begin(
        cls,
        student: Network,
        dataset: Dataset,
        recipe: Recipe,
        *,
        teacher: Network | None,
        ranks: Parallel = ONE,
        adapters: Adapters | None = None,
    ) -> "Loop":
        """Everything on the device, before the first step. Raises ConfigError as `train` does."""
        device = ranks.device
        method, options = load_method(recipe.method), options_of(recipe)
        if method.needs_teacher and teacher is None:
            raise ConfigError(f"method {recipe.method} needs a teacher: name one with --teacher")
        batch = min(recipe.batch, len(dataset.train))
        if batch % ranks.world:
            raise ConfigError(
                f"a batch of {batch} images cannot be shared by {ranks.world} processes: "
                f"--set batch={batch // ranks.world * ranks.world or ranks.world}"
            )
        if teacher is not None:
            teacher = teacher.to(device).eval().requires_grad_(False)
            if method.needs_adapters:
                torch.manual_seed(recipe.seed)
                adapters = (adapters or Adapters(student, teacher)).to(device)
                if method.compares_taps is not None and method.compares_taps(options) and not adapters.taps:
                    raise ConfigError(
                        f"method {recipe.method} compares feature maps, and the teacher ({teacher.architecture}) has "
                        "none: --set weight_acm=0, or take method rslad"
                    )
        state = TrainState.begin(student.to(device), adapters, recipe, n_val=len(dataset.val))
        if ranks.world > 1:
            with_global_batch_norm(student, ranks)
        return cls(
            dataset=replace(dataset, train=dataset.train.to(device), val=dataset.val.to(device)),
            recipe=recipe,
            method=method,
            options=options,
            teacher=teacher,
            ranks=ranks,
            autocast=bf16_pays(device),
            batch=batch,
            state=state,
            rows=torch.arange(len(dataset.train), device=device),
            repeats=Replay(replay.on_gpu) if device.type == "cuda" and ranks.world == 1 else None,
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
        choose = self.method.select_samples
        rows = self.rows if choose is None else choose(cached, self.dataset.train.labels, self.options)
        return replace(self, cached_teacher=cached, rows=rows if len(rows) >= self.batch else self.rows)

    @property
    def steps(self) -> int:
        """Steps an epoch; the images of an incomplete last batch are left out."""
        return len(self.rows) // self.batch

    def epoch(self, advance: Advance, *, keeper: "Keeper", say: Callable[[str], None]) -> Epoch:
        """One pass over what an epoch shows, or the rest of it, validated. Raises DivergedError."""
        recipe, state, first = self.recipe, self.state, self.state.epoch * self.steps
        state.student.train()
        order = self.rows[state.order(len(self.rows)).to(self.rows.device)]
        done = state.begin_epoch()
        earlier, started, warm = done.seconds, time.perf_counter(), (0, 0.0)
        for rows in order[: self.steps * self.batch].split(self.batch)[done.steps :]:
            done.add(self.step(rows, (first + done.steps) / (recipe.epochs * self.steps)))
            done.seconds = earlier + time.perf_counter() - started
            advance(first + done.steps, f"epoch {state.epoch + 1}/{recipe.epochs}, {self._speed():.0f} images/s")
            if first + done.steps == FIRST_STEPS // 2:
                warm = done.steps, done.seconds
            if first + done.steps == FIRST_STEPS:
                say(self._estimate((done.seconds - warm[1]) / (done.steps - warm[0])))
                if self.repeats is not None and self.repeats.refused:
                    say(f"each step is asked of the GPU anew, which may take longer: {self.repeats.refused}")
            keeper.keep_if_due()
        totals = self.ranks.mean(torch.stack(list(done.sums.values())))
        terms = {name: float(total) / done.counts[name] for name, total in zip(done.sums, totals, strict=True)}
        if not (all(map(math.isfinite, terms.values())) and state.finite()):
            raise DivergedError(
                f"The loss or the weights are no longer finite in epoch {state.epoch + 1} ({terms}){keeper.said}. "
                "Start a new run with another --seed, --method or --epochs, or with --set lr_muon=..., lr=... or "
                "optimizer=sgd."
            )
        seconds = done.seconds
        if recipe.averaging == "swa":
            self._average_equally()
        clean, robust, gap = self._validate()
        if self.method.keeps_best == "clean":
            state.note(robust=clean, clean=0.0)
        else:
            state.note(robust=robust, clean=clean)
        return Epoch(
            epoch=state.epoch,
            terms=terms,
            val_clean_acc=clean,
            val_robust_acc=robust,
            val_within_share_gap=None if math.isnan(gap) else gap,
            lr=recipe.lr * state.optimizer.share,
            seconds=seconds,
            images_per_second=self.steps * self.batch / seconds,
        )

    def _speed(self) -> float:
        """Images a second in this epoch."""
        done = self.state.begin_epoch()
        return done.steps * self.batch / done.seconds

    def _estimate(self, step: float) -> str:
        """What the whole run will take where a step takes so many seconds."""
        epoch = self.steps * step
        total = self.recipe.epochs * epoch
        return (
            f"{self.recipe.method}: about {duration(total)} in all, {duration(epoch)} an epoch, "
            f"at {self.batch / step:.0f} images a second"
        )

    def step(self, rows: Tensor, progress: float) -> Terms:
        """One optimisation step on these training images; returns the loss terms. `progress` is 0 to 1 of the run."""
        recipe, state, ranks = self.recipe, self.state, self.ranks
        state.optimizer.set_rates(rate_share(progress, recipe))
        images = self.dataset.train.batch(rows)
        side = round(recipe.cutout * images.shape[2])
        # All of the batch is augmented, so that random numbers do not depend on how many processes there are.
        images = ranks.part(augment(images, self.dataset, side=side, generator=state.generator))
        rows = ranks.part(rows)
        if self.repeats is None:
            terms = self.backward(images, rows, Moment(progress), Noise(state.noise, images.device, ranks))
        else:
            terms = self.repeats(self.backward, images, rows, progress, KeptNoise(state.noise, images.device))
        ranks.average_gradients(state.optimizer.parameters)
        if recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(state.optimizer.parameters, recipe.clip_norm)
        state.optimizer.step()
        if recipe.averaging == "ema":
            state.average.update(state.student, ema_share(state.average.updates, recipe.ema_decay))
        return terms

    def backward(self, images: Tensor, rows: Tensor, moment: Moment, noise: Noise) -> Terms:
        """The loss terms of these images (uint8, augmented) of these rows, their gradients left in the parameters.

        A GPU is not waited for in here, and nothing is copied to it: then it can be recorded (distill/replay.py).
        """
        state = self.state
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.autocast):
            terms = self.method(
                Step(
                    student=state.student,
                    teacher=self.teacher,
                    adapters=state.adapters,
                    images=to_float(images),
                    labels=self.dataset.train.labels[rows],
                    cached_teacher=None if self.cached_teacher is None else self.cached_teacher.rows(rows),
                    recipe=self.recipe,
                    options=self.options,
                    moment=moment,
                    generator=state.generator,
                    noise=noise,
                )
            )
        state.optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        return {name: term.detach() for name, term in terms.items()}

    def _average_equally(self) -> None:
        """Take the epoch that ends into the equal average; before `swa_start` the average is the network itself."""
        recipe, average, student = self.recipe, self.state.average, self.state.student
        if (self.state.epoch + 1) / recipe.epochs <= recipe.swa_start:
            average.move(student, 1.0)
            return
        average.update(student, swa_share(average.updates))
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.autocast):
            average.measure_batch_norm(map(to_float, self.dataset.train.batches(self.batch)))

    def _validate(self) -> Validation:
        """The averaged weights' accuracies; every process gets the same bits."""
        network, val = self.state.average.network, self.dataset.val
        found = validate(network, val, self.recipe.threat_model, autocast=self.autocast)
        return Validation(*self.ranks.mean(torch.tensor(found, dtype=torch.float64)).tolist())


class Keeper:
    """Writes checkpoints to `path`, or none where that is None: after each epoch, and within one every minute."""

    def __init__(self, path: Path | None, state: TrainState, recipe: Recipe) -> None:
        self._path, self._state, self._recipe = path, state, recipe
        self._last, self._pause = time.perf_counter(), KEEP_SECONDS

    @property
    def said(self) -> str:
        """Where the last one is, for a message."""
        kept = self._path is not None and self._path.exists()
        return f"; the last good state is kept in {self._path}" if kept else ""

    def keep(self) -> None:
        """Write the state as it is."""
        if self._path is None:
            return
        started = time.perf_counter()
        save_checkpoint(self._path, self._state.checkpoint(), self._recipe)
        self._last = time.perf_counter()
        self._pause = max(KEEP_SECONDS, (self._last - started) / KEEP_SHARE)

    def keep_if_due(self) -> None:
        """Write it where the last time is long enough ago, and the weights are sound."""
        if self._path is not None and time.perf_counter() - self._last > self._pause and self._state.finite():
            self.keep()
