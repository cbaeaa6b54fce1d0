"""The training loop: one program, read from top to bottom."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from edgerkd.attacks.hunt import Task
from edgerkd.attacks.losses import cross_entropy
from edgerkd.attacks.pgd import pgd
from edgerkd.core.epoch import Epoch
from edgerkd.core.errors import ConfigError, DivergedError
from edgerkd.core.progress import Progress
from edgerkd.core.recipe import Recipe
from edgerkd.data.augment import random_crop, random_flip
from edgerkd.data.dataset import Dataset, Split, to_float
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.checkpoint import Checkpoint, load_checkpoint, noise_state, restore_noise, save_checkpoint
from edgerkd.distill.ema import WeightAverage
from edgerkd.distill.methods.registry import METHODS, NEEDS_TEACHER
from edgerkd.distill.methods.step import Step
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.hardware import bf16_pays, compute_device
from edgerkd.models.network import Network


class Trained(NamedTuple):
    """A trained network, and the last epoch's adapters to its teacher, where it had one."""

    network: Network
    adapters: Adapters | None


def learning_rate(progress: float, recipe: Recipe) -> float:
    """One cycle: linear from 0 to the peak over `warmup`, then half a cosine. Source: arXiv 1708.07120, fig. 1a."""
    if progress < recipe.warmup:
        return recipe.lr * progress / recipe.warmup
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (progress - recipe.warmup) / (1 - recipe.warmup)))


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
) -> Trained:
    """Train `student` and return its averaged weights of the epoch that was best on the validation split.

    Best means the highest PGD-10 accuracy there (clean accuracy for method standard); the test split
    is never looked at. With `checkpoint`, the state is written there after each epoch, and `resume`
    goes on from it to the same weights as an uninterrupted run. Raises DivergedError, the last good
    state kept, and ConfigError for a method without the teacher it needs.
    """
    if recipe.method in NEEDS_TEACHER and teacher is None:
        raise ConfigError(f"method {recipe.method} needs a teacher: name one with --teacher")
    device = compute_device()
    student = student.to(device)
    generator = torch.Generator().manual_seed(recipe.seed)
    noise = np.random.default_rng(recipe.seed)
    adapters = None
    if teacher is not None:
        teacher = teacher.to(device).eval().requires_grad_(False)
        torch.manual_seed(recipe.seed)
        adapters = Adapters(student.architecture, teacher.architecture).to(device)
    parameters = [*student.parameters(), *(adapters.parameters() if adapters is not None else ())]
    optimizer = torch.optim.SGD(
        parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    average = WeightAverage(student, recipe.ema_decay)
    best = {name: value.clone() for name, value in average.network.state_dict().items()}
    score, first = (-1.0, -1.0), 0

    if resume and checkpoint is not None and checkpoint.exists():
        state = load_checkpoint(checkpoint, recipe)
        student.load_state_dict(state.states["student"])
        average.network.load_state_dict(state.states["average"])
        optimizer.load_state_dict(state.states["optimizer"])
        if adapters is not None:
            adapters.load_state_dict(state.states["adapters"])
        best, first = state.states["best"], state.epoch
        average.updates, score = state.states["scalars"]["updates"], tuple(state.states["scalars"]["score"])
        generator.set_state(state.generator)
        restore_noise(noise, state.noise)

    train_split, val = dataset.train.to(device), dataset.val.to(device)
    batch = min(recipe.batch, len(train_split))
    steps = len(train_split) // batch
    method, autocast = METHODS[recipe.method], bf16_pays(device)

    with progress.stage(f"{recipe.method}: training", recipe.epochs * steps) as advance:
        for epoch in range(first, recipe.epochs):
            started = time.perf_counter()
            student.train()
            sums: dict[str, Tensor] = {}
            counts: dict[str, int] = {}
            lr = 0.0
            order = torch.randperm(len(train_split), generator=generator).to(device)
            for step in range(steps):
                done = (epoch * steps + step) / (recipe.epochs * steps)
                lr = learning_rate(done, recipe)
                for group in optimizer.param_groups:
                    group["lr"] = lr
                rows = order[step * batch : (step + 1) * batch]
                images = random_crop(train_split.images[rows], dataset.crop, generator)
                if dataset.flip:
                    images = random_flip(images, generator)
                with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                    terms = method(
                        Step(
                            student=student,
                            teacher=teacher,
                            adapters=adapters,
                            images=to_float(images),
                            labels=train_split.labels[rows],
                            recipe=recipe,
                            progress=done,
                            generator=generator,
                            noise=noise,
                        )
                    )
                optimizer.zero_grad(set_to_none=True)
                torch.stack(list(terms.values())).sum().backward()
                optimizer.step()
                average.update(student)
                for name, term in terms.items():
                    sums[name] = sums.get(name, 0) + term.detach()
                    counts[name] = counts.get(name, 0) + 1
                advance(epoch * steps + step + 1, f"epoch {epoch + 1}/{recipe.epochs}")

            means = {name: float(total) / counts[name] for name, total in sums.items()}
            if not all(map(math.isfinite, means.values())):
                kept = f"; the state before this epoch is kept in {checkpoint}" if checkpoint and epoch > 0 else ""
                raise DivergedError(
                    f"the loss is no longer finite in epoch {epoch + 1} ({means}){kept}: "
                    "start a new run with another --seed, --method or --epochs"
                )
            seconds = time.perf_counter() - started
            clean, robust = quick_accuracy(average.network, val, recipe, autocast=autocast)
            # Of equal scores the later epoch wins: its learning rate is lower.
            if (new := (clean, 0.0) if recipe.method == "standard" else (robust, clean)) >= score:
                score, best = new, {name: value.clone() for name, value in average.network.state_dict().items()}
            # The line first: a repeated epoch writes it again, a missing one would be missing for good.
            on_epoch(
                Epoch(
                    epoch=epoch + 1,
                    terms=means,
                    val_clean_acc=clean,
                    val_robust_acc=robust,
                    lr=lr,
                    seconds=seconds,
                    images_per_second=steps * batch / seconds,
                )
            )
            if checkpoint is not None:
                states = {
                    "student": student.state_dict(),
                    "average": average.network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "adapters": adapters.state_dict() if adapters is not None else {},
                    "best": best,
                    "scalars": {"updates": average.updates, "score": list(score)},
                }
                save_checkpoint(
                    checkpoint,
                    Checkpoint(
                        epoch=epoch + 1, states=states, generator=generator.get_state(), noise=noise_state(noise)
                    ),
                    recipe,
                )

    average.network.load_state_dict(best)
    return Trained(average.network.requires_grad_(True), adapters)


def quick_accuracy(network: Network, split: Split, recipe: Recipe, *, autocast: bool) -> tuple[float, float]:
    """Clean and PGD-10 accuracy for choosing an epoch: one start from the images, the same for every epoch."""
    classifier = TorchClassifier(network, autocast=autocast)
    images, labels = to_float(split.images), split.labels
    clean = classifier.logits(images).argmax(1) == labels
    threat_model = recipe.threat_model
    task = Task(
        images=images[clean], labels=labels[clean], threat_model=threat_model, seed=0, index=np.arange(int(clean.sum()))
    )
    eps = float(threat_model.eps)
    images_adv = pgd(classifier, task, loss=cross_entropy, steps=10, step_size=eps / 4, from_images=True)
    resisted = classifier.logits(images_adv).argmax(1) == task.labels
    return float(clean.float().mean()), float(resisted.sum() / len(split))
