"""One student: trained within epochs or minutes, resumed where it was stopped, and attacked."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from passes import Passes, Work
from plan import Length
from result import packed
from setting import clock, seconds_of

from edgerkd.core.architecture import Architecture
from edgerkd.core.epoch import Epoch
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset, Split, to_float
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.trainer import Loop, train
from edgerkd.distill.validation import validate
from edgerkd.files.atomic import write_atomic
from edgerkd.files.decode import encode_json
from edgerkd.jobs.attack import attack_network
from edgerkd.models.build import build
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.cost import count_cost
from edgerkd.models.network import Network

TIMED_STEPS = 8
ATTACKED_ON_GPU = 1000  # images together: of small students' attacks a GPU is never full


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What comes `once`, a `step` (of `steps` an epoch; the average over the run), a `validation`, in one unit."""

    once: float
    step: float
    steps: int
    validation: float

    def epochs(self, total: float) -> int:
        """How many fit; one at least."""
        return max(1, round((total - self.once) / (self.steps * self.step + self.validation)))


def epochs_of(
    length: Length, recipe: Recipe, architecture: Architecture, teacher: Network | None, data: Dataset
) -> int:
    """The epochs of a run of this length."""
    if length.epochs is not None:
        return length.epochs
    if length.minutes is not None:
        return costs(recipe, architecture, teacher, data).epochs(60 * length.minutes)
    assert length.tera_macs is not None

    def macs_of(work: Callable[[], object]) -> float:
        with Passes(architecture.image_shape) as passes:
            work()
        return passes.work.macs

    return costs(recipe, architecture, teacher, data, measure=macs_of, repeats=False).epochs(1e12 * length.tera_macs)


def costs(
    recipe: Recipe,
    architecture: Architecture,
    teacher: Network | None,
    data: Dataset,
    *,
    measure: Callable[[Callable[[], object]], float] = seconds_of,
    repeats: bool = True,
) -> Costs:
    """Each part of a run measured on a copy, after a warm-up: steps early and late: method edgerkd has two phases.

    Validation is timed with labels that are the network's own answers and a radius that fools none: the
    longest that it can take, since images that are wrong or fooled leave its attack. How many images an epoch
    shows is told from the first ones. Without `repeats` a GPU is asked for each step anew, as who counts must see it.
    """
    few = replace(data, train=data.train.take(np.arange(TIMED_STEPS * recipe.batch)))
    loop = Loop.begin(build(architecture).train(), few, recipe, teacher=_copied(teacher, recipe))
    if not repeats:
        loop = replace(loop, repeats=None)
    once = 0.0
    if METHODS[recipe.method].caches_teacher:
        loop = loop.with_cached_teacher(Silent())
        once = measure(lambda: loop.with_cached_teacher(Silent())) * len(data.train) / len(few.train)
    rows = torch.arange(loop.batch, device=loop.ranks.device)

    def usual(work: Callable[[], object], times: int) -> float:
        work()
        return median(measure(work) for _ in range(times))

    early, late = (usual(lambda at=at: loop.step(rows, at), TIMED_STEPS) for at in (0.0, 1.0))
    network, val = loop.state.average.network, loop.dataset.val
    own = TorchClassifier(network, autocast=loop.autocast).logits(to_float(val.images)).argmax(1)
    easy, near = replace(val, labels=own), ThreatModel(norm=recipe.threat_model.norm, eps=Radius("1/1000000"))
    share = float(recipe.options.get("adversarial_share", 1.0))
    return Costs(
        once=once,
        step=(1 - share) * early + share * late,
        steps=len(data.train) * len(loop.rows) // (len(few.train) * loop.batch),
        validation=usual(lambda: validate(network, easy, near, autocast=loop.autocast), 2),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A student and what it took: the seconds and the work of all sittings."""

    network: Network
    epochs: tuple[Epoch, ...]
    seconds: float
    work: Work


def trained(
    recipe: Recipe,
    architecture: Architecture,
    teacher: Network | None,
    data: Dataset,
    *,
    folder: Path | None,
    start: Network | None = None,
) -> Trained:
    """Train one, with its checkpoint and what it cost so far in `folder`, so that a stopped run goes on.

    It begins with the weights of `start`, or anew.

    Of an epoch that was cut off, the steps before the cut are not counted.
    """
    torch.manual_seed(recipe.seed)
    student = build(architecture) if start is None else copy.deepcopy(start)
    checkpoint, log = (None, None) if folder is None else (folder / "checkpoint.pt", folder / "log.json")
    before = (
        json.loads(log.read_text()) if log is not None and log.exists() else {"epochs": [], "seconds": 0.0, "work": {}}
    )
    epochs: list[dict[str, Any]] = before["epochs"]
    earlier = Work(**before["work"])
    with Passes(architecture.image_shape) as passes:
        seconds = StopWatch(before["seconds"])

        def spent() -> Work:
            done = passes.work
            return Work(earlier.forward + done.forward, earlier.backward + done.backward, earlier.macs + done.macs)

        def on_epoch(epoch: Epoch) -> None:
            epochs[epoch.epoch - 1 :] = [asdict(epoch)]
            print(f"  epoch {epoch.epoch}: {epoch.val_clean_acc:.3f} {epoch.val_robust_acc:.3f}", flush=True)
            if log is not None:
                content = {"epochs": epochs, "seconds": seconds(), "work": asdict(spent())}
                write_atomic(log, json.dumps(content))

        network = train(
            student,
            data,
            recipe,
            teacher=_copied(teacher, recipe),
            checkpoint=checkpoint,
            resume=folder is not None,
            on_epoch=on_epoch,
            progress=Silent(),
        ).network
        found = tuple(Epoch(**epoch) for epoch in epochs)
        return Trained(network=network, epochs=found, seconds=seconds(), work=spent())


class StopWatch:
    """Seconds by `clock` since it was made, and some before."""

    def __init__(self, before: float) -> None:
        self._before, self._started = before, clock()

    def __call__(self) -> float:
        return self._before + clock() - self._started


def _copied(teacher: Network | None, recipe: Recipe) -> Network | None:
    return copy.deepcopy(teacher) if METHODS[recipe.method].needs_teacher else None


def correct_under(
    attacks: Mapping[str, int], network: Network, split: Split, data: Dataset, recipe: Recipe, *, exact: bool = True
) -> dict[str, str]:
    """For each attack which of its images stay right, as `packed` says; `clean` of as many as the most attacked."""
    found: dict[str, str] = {}
    most = 0
    for attack, n in attacks.items():
        attacked = attack_network(
            network,
            split.sample(min(n, len(split)), seed=0),
            name=recipe.method,
            split="test",
            of=len(split),
            class_names=data.class_names,
            threat_model=recipe.threat_model,
            seed=0,
            progress=Silent(),
            attack=attack,
            exact=exact,
            chunk=ATTACKED_ON_GPU if torch.cuda.is_available() else None,
        )
        found[attack] = packed(attacked.outcomes.robust.tolist())
        if n > most:
            most, found["clean"] = n, packed(attacked.outcomes.clean.tolist())
    return found


def key_of(recipe: Recipe, architecture: Architecture, *more: object) -> str:
    """Twelve hex digits that name a run's files."""
    told = encode_json(recipe) + str(architecture) + repr(more)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def size_of(architecture: Architecture) -> dict[str, int]:
    """Parameters and multiply-adds of the student."""
    cost = count_cost(architecture)[0]
    return {"params": cost.params, "macs": cost.macs}
