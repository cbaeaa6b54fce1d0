"""A training step beside the least time that this machine allows it (bench/roofline.py), and the parts it is made of.

Of the default method, of n-fgsm and of mixacm on whole maps, for two students of four stages, `16-32-64-128`. Seconds
are of this process's own processor time where torch has one thread (OMP_NUM_THREADS=1), so that other work on the
machine counts only by the caches and the memory it takes.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar
from unittest.mock import patch

import torch
from machine import spread
from roofline import Bound, bound_of
from setting import clock, seconds_of
from torch import Tensor

from edgerkd.core.architecture import Architecture, Family
from edgerkd.core.recipe import Option
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Dataset
from edgerkd.distill import trainer
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import load_method
from edgerkd.distill.replay import WARM_UP
from edgerkd.distill.teacher_outputs import CachedTeacherOutputs
from edgerkd.distill.trainer import Loop
from edgerkd.models.build import build, feature_channels
from edgerkd.models.network import Network

R = TypeVar("R")

METHODS: dict[str, dict[str, Option]] = {"edgerkd": {}, "n-fgsm": {}, "mixacm": {"maps": "spatial"}}
WIDTHS = (16, 32, 64, 128)
STUDENTS: tuple[tuple[Family, int], ...] = (("resnet", 1), ("preactresnet", 2))
"""Their family, and the blocks of each stage."""
REST = "training forward and backward"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of each step of one run, those of its `parts`, and the bound of a step."""

    method: str
    student: Architecture
    seconds: Sequence[float]
    anew: Sequence[float] | None
    """Of steps that a GPU is asked for operation by operation; None where each step is."""
    parts: dict[str, Sequence[float]]
    bound: Bound

    @property
    def ratio(self) -> float:
        """The quickest step over the bound, which is made of the quickest operations."""
        return min(self.seconds) / self.bound.seconds

    def show(self) -> None:
        """A line for the step, one for its parts, one for the bound."""
        middle, low, high = spread(self.seconds)
        print(f"\n{self.method}, {self.student}")
        print(
            f"  step     {min(self.seconds) * 1e3:8.1f} ms at best, median {middle * 1e3:.1f} "
            f"[{low * 1e3:.1f}, {high * 1e3:.1f}]"
        )
        if self.anew is not None:
            print(f"  anew     {min(self.anew) * 1e3:8.1f} ms at best, median {spread(self.anew)[0] * 1e3:.1f}")
        print("  parts    " + ", ".join(f"{name} {spread(each)[0] * 1e3:.1f}" for name, each in self.parts.items()))
        print(
            f"  bound    {self.bound.seconds * 1e3:8.1f} ms: {self.bound.products * 1e3:.1f} convolutions and matrix "
            f"products, {self.bound.moved * 1e3:.1f} bytes moved by all else"
        )
        print(f"  ratio    {self.ratio:8.2f} at best, {middle / self.bound.seconds:.2f} by the median")


def step_times(
    dataset: Dataset, threat_model: ThreatModel, teacher: Network, *, batch: int, rounds: int
) -> list[StepTime]:
    """Every method with every student, each shown as soon as it is measured."""
    found: list[StepTime] = []
    for family, blocks in STUDENTS:
        for name in METHODS:
            architecture = dataset.architecture(family, widths=WIDTHS, blocks=[blocks] * len(WIDTHS))
            found.append(step_time(loop_of(name, architecture, dataset, threat_model, teacher, batch), rounds=rounds))
            found[-1].show()
    return found


def loop_of(
    name: str, architecture: Architecture, dataset: Dataset, threat_model: ThreatModel, teacher: Network, batch: int
) -> Loop:
    """A run before its first step; what a teacher is asked about before the run is noise here, which costs as much."""
    method = load_method(name)
    recipe = recipe_for(method, threat_model, epochs=1, settings={"batch": batch, **METHODS[name]})
    torch.manual_seed(0)
    loop = Loop.begin(build(architecture).train(), dataset, recipe, teacher=teacher if method.needs_teacher else None)
    if not method.caches_teacher:
        return loop
    n, device = len(dataset.train), loop.ranks.device
    cached = CachedTeacherOutputs(
        logits=torch.randn(n, dataset.classes, device=device).log_softmax(1),
        penultimate=torch.rand(n, feature_channels(teacher)[1], device=device),
    )
    return replace(loop, cached_teacher=cached)


def step_time(loop: Loop, *, rounds: int) -> StepTime:
    """Steps of this run in the middle of it, after those that warm up, and on a GPU after one was recorded."""
    rows = loop.rows[: loop.batch]
    anew = replace(loop, repeats=None)
    for _ in range(WARM_UP + 2):
        loop.step(rows, 0.5)
    repeated = [seconds_of(lambda: loop.step(rows, 0.5)) for _ in range(rounds)] if loop.repeats else None
    whole, parts = _timed(anew, rows, rounds)
    return StepTime(
        method=loop.method.name,
        student=loop.state.student.architecture,
        seconds=repeated or whole,
        anew=whole if repeated else None,
        parts=parts,
        bound=bound_of(lambda: anew.step(rows, 0.5)),
    )


def _timed(loop: Loop, rows: Tensor, rounds: int) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of so many steps that are not repeated, and of each of their parts."""
    parts: dict[str, list[float]] = {"augmentation": [], "attack": [], REST: [], "optimiser": [], "averaging": []}
    with ExitStack() as stack:
        timed = _with_parts(loop, parts, stack)
        whole = [seconds_of(lambda: timed.step(rows, 0.5)) for _ in range(rounds)]
    parts[REST] = [
        all_of_it - sum(each[step] for name, each in parts.items() if name != REST and each)
        for step, all_of_it in enumerate(whole)
    ]
    return whole, {name: each for name, each in parts.items() if each}


def _with_parts(loop: Loop, parts: dict[str, list[float]], stack: ExitStack) -> Loop:
    """The same run, whose parts write down how long they took while `stack` is open."""
    state, attack = loop.state, loop.method.attack
    for owner, name, part in (
        (trainer, "augment", "augmentation"),
        (state.optimizer, "step", "optimiser"),
        (state.average, "update", "averaging"),
    ):
        stack.enter_context(patch.object(owner, name, _noting(getattr(owner, name), parts[part])))
    if attack is None:
        return loop
    return replace(loop, method=replace(loop.method, attack=_noting(attack, parts["attack"])))


def _noting(work: Callable[..., R], seconds: list[float]) -> Callable[..., R]:
    def noted(*args: object, **kwargs: object) -> R:
        started = clock()
        result = work(*args, **kwargs)
        seconds.append(clock() - started)
        return result

    return noted
