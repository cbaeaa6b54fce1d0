"""What training of a teacher this machine can afford: measured on a few steps, not guessed."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from edgerkd.core.architecture import Architecture
from edgerkd.core.recipe import Recipe
from edgerkd.core.record import Record
from edgerkd.data.dataset import Dataset
from edgerkd.distill.trainer import Loop
from edgerkd.distill.validation import STEPS as VAL_STEPS
from edgerkd.models.build import build

MEASURED = 3  # steps, after one that warms up; ours
RESERVE = 0.1  # of the time, for checkpoints and whatever else the machine does; ours: a run of 20 minutes took 22
LEAST, EPOCHS = 5, 30
"""Epochs of a training: fewer than the first leave a network near chance, more than the second are not worth their time
here. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Record):
    """A network and how it is trained."""

    SCHEMA = 1

    architecture: Architecture
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder: a network and an inner attack, taken where at least `epochs` of it can be afforded."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    attack_steps: int
    epochs: int


def ladder(side: int) -> tuple[Rung, ...]:
    """From the cheapest training to the dearest, for images of so many pixels a side. Ours: see docs/sources.md."""
    compact, deep = ((16, 32, 64), (1, 1, 1)), ((16, 32, 64), (2, 2, 2))
    middle: tuple[Rung, ...] = ()
    if side >= 32:
        middle = (Rung((32, 64, 128), (1, 1, 1), attack_steps=3, epochs=LEAST),)
        deep = (32, 64, 128, 256), (2, 2, 2, 2)
    return (
        Rung(*compact, attack_steps=1, epochs=LEAST),
        Rung(*compact, attack_steps=3, epochs=8),
        *middle,
        Rung(*deep, attack_steps=3, epochs=20),
        Rung(*deep, attack_steps=10, epochs=EPOCHS),
    )


def affordable_training(
    dataset: Dataset, recipe: Recipe, *, seconds: float, rungs: Sequence[Rung]
) -> tuple[Training, float]:
    """The dearest training of `rungs` that ends within `seconds` on this machine, and the seconds it will take.

    `recipe` gives all but the steps of the inner attack and the epochs.
    """
    rung, epochs, needed = climb(_measured(dataset, recipe, rungs), seconds)
    recipe = replace(recipe, attack_steps=rung.attack_steps, epochs=epochs)
    return Training(architecture=architecture_of(rung, dataset), recipe=recipe), needed


def climb(measured: Iterable[tuple[Rung, float]], seconds: float) -> tuple[Rung, int, float]:
    """The last of the rungs that `seconds` pay for, its epochs, and the seconds they take.

    `measured` gives each rung, from cheap to dear, with the seconds of one epoch, and is asked no further than the
    first that cannot be paid for. Where that is the very first, it is the answer all the same, with its least epochs.
    """
    found: tuple[Rung, int, float] | None = None
    for rung, epoch in measured:
        epochs = min(EPOCHS, int(seconds * (1 - RESERVE) / epoch))
        if found is not None and epochs < rung.epochs:
            break
        epochs = max(rung.epochs, epochs)
        found = rung, epochs, epochs * epoch
    if found is None:
        raise ValueError("there is no rung")
    return found


def _measured(dataset: Dataset, recipe: Recipe, rungs: Sequence[Rung]) -> Iterator[tuple[Rung, float]]:
    """Each rung with the seconds of one epoch and its validation, by the quickest of a few steps.

    The quickest, because what delays one is not the training. Validation attacks with `VAL_STEPS` steps and has about
    the passes through the network that so many images have in training.
    """
    for rung in rungs:
        torch.manual_seed(recipe.seed)
        loop = Loop.begin(
            build(architecture_of(rung, dataset)),
            dataset,
            replace(recipe, attack_steps=rung.attack_steps),
            teacher=None,
        )
        loop.state.student.train()
        times: list[float] = []
        for _ in range(1 + MEASURED):
            started = time.perf_counter()
            loop.step(loop.rows[: loop.batch], progress=1.0)  # the rate is 0 there, the radius whole
            if loop.ranks.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        validation = len(dataset.val) * (1 + VAL_STEPS) / (1 + rung.attack_steps)
        yield rung, min(times[1:]) * (len(loop.rows) + validation) / loop.batch


def architecture_of(rung: Rung, dataset: Dataset) -> Architecture:
    """The network of a rung, for the images and classes of `dataset`."""
    return dataset.architecture("preactresnet", widths=rung.widths, blocks=rung.blocks)
