"""Teachers: trained here once, imported from a file, or found in the cache."""

import hashlib
import re
from pathlib import Path

import torch

from edgerkd.core.errors import ArtefactError, ConfigError, UnknownNameError
from edgerkd.core.progress import Progress
from edgerkd.core.recipe import EPS_WARMUP, Recipe
from edgerkd.core.teacher import TeacherCard
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import duration
from edgerkd.data.dataset import Dataset
from edgerkd.distill.affordable import EPOCHS, Training, affordable_training, architecture_of, ladder
from edgerkd.distill.checkpoint import load_checkpoint
from edgerkd.distill.methods.method import AnyMethod
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import FOR_TEACHERS, METHODS, load_method
from edgerkd.distill.trainer import train
from edgerkd.files.atomic import check_writable, locked, sha256_of, write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.paths import find_kind, given_path
from edgerkd.jobs.teacher_cache import (
    cache_folder,
    check_name,
    keep_teacher,
    kept_names,
    kept_teacher,
    known_teachers,
)
from edgerkd.jobs.teacher_import import SAMPLE, check_fit, import_teacher, is_graph, measure_teacher
from edgerkd.models.build import build
from edgerkd.models.network import Network

MINUTES = 20
"""What a training may take where nothing else is said. Ours."""


def teacher_for(
    method: AnyMethod, teacher: str | None, dataset: Dataset, threat_model: ThreatModel, *, progress: Progress
) -> tuple[Network, TeacherCard] | None:
    """The teacher that stands beside a student trained by `method`, as `find_teacher` finds it.

    None, and a line that says so, where the method asks none, none is named, and none is there for these data: none is
    trained for the comparison alone.
    """
    if not method.needs_teacher and teacher is None and not fitting_teachers(dataset, threat_model):
        progress.say(
            f"no teacher: {method.name} asks none, and none is kept for {dataset.name} under {threat_model}: the "
            "student is as large as the budget allows, and no share of a teacher's accuracy will be required of it"
        )
        return None
    return find_teacher(teacher, dataset, threat_model, progress=progress)


def find_teacher(
    teacher: str | None, dataset: Dataset, threat_model: ThreatModel, *, progress: Progress
) -> tuple[Network, TeacherCard]:
    """The teacher named (a name in the cache, or a file of weights or of a graph), or the one there is for these data.

    Where none is there, one is trained and kept. Raises ConfigError where the teacher does not fit the data, knows
    little or resists nothing, and where several are there and none is named.
    """
    if teacher is None:
        fitting = fitting_teachers(dataset, threat_model)
        if not fitting:
            return train_teacher(dataset, threat_model, progress=progress)
        teacher = _chosen(fitting, dataset, threat_model)
    elif teacher not in kept_names() and _is_file(teacher):
        kept = _imported_before(given_path(teacher), dataset)
        if kept is None:
            return import_teacher(teacher, dataset, threat_model, name=None, accept_fragile=False, progress=progress)
        teacher = kept
    network, card = kept_teacher(teacher)
    check_fit(network.architecture, dataset, teacher)
    if card.data_sha256 != dataset.sha256:
        progress.say(
            f"note: teacher {card.name} was made on other data ({card.dataset}): if it was trained on images of this "
            "test split, the accuracy of its student says nothing about new images."
        )
    if card.threat_model != threat_model:
        progress.say(f"note: teacher {card.name} was measured under {card.threat_model}, not under {threat_model}.")
    return network, card


def _is_file(teacher: str) -> bool:
    return "/" in teacher or is_graph(teacher) or Path(teacher).suffix in (".pt", ".pth", ".safetensors")


def foreseen_teacher(
    teacher: str | None, dataset: Dataset, threat_model: ThreatModel, *, progress: Progress
) -> tuple[Network, str]:
    """The teacher that `find_teacher` would give, and its name; of one that it would have to train, one untrained.

    What is measured of this machine to choose its architecture is kept, and counts when it is trained. Raises as
    `find_teacher` does.
    """
    if teacher is not None or fitting_teachers(dataset, threat_model):
        network, card = find_teacher(teacher, dataset, threat_model, progress=progress)
        return network, card.name
    progress.say(f"no teacher is kept for {dataset.name} under {threat_model}: `edgerkd distill` would train one first")
    recipe = _recipe(dataset, threat_model, method=None, epochs=None, attack_steps=None, seed=0)
    limit = 60 * MINUTES
    plan = _plan_file(_request(recipe, limit, dataset))
    training = _planned(plan, dataset, recipe, limit=limit, progress=progress)
    return build(training.architecture), default_name(dataset, threat_model, recipe.method)


def fitting_teachers(dataset: Dataset, threat_model: ThreatModel) -> tuple[str, ...]:
    """The teachers kept for these data and this threat model."""
    return tuple(
        card.name
        for card in known_teachers()
        if card.data_sha256 == dataset.sha256 and card.threat_model == threat_model
    )


def _chosen(fitting: tuple[str, ...], dataset: Dataset, threat_model: ThreatModel) -> str:
    """The only one, or the one trained here by default. Raises ConfigError where that leaves several."""
    usual = {default_name(dataset, threat_model, m.name) for m in METHODS.values() if m.trains_teachers}
    default = [name for name in fitting if name in usual]
    for names in (fitting, default):
        if len(names) == 1:
            return names[0]
    raise ConfigError(
        f"--teacher: the cache has several for {dataset.name} under {threat_model}, {', '.join(fitting)}: "
        "name one of them."
    )


def _imported_before(path: Path, dataset: Dataset) -> str | None:
    """The teacher kept from this very file, which was read and measured on these data; None where there is none."""
    if find_kind(path) != "a file":
        return None
    expected = sha256_of(path), dataset.sha256
    return next((card.name for card in known_teachers() if (card.source_sha256, card.data_sha256) == expected), None)


def train_teacher(
    dataset: Dataset,
    threat_model: ThreatModel,
    *,
    progress: Progress,
    method: str | None = None,
    epochs: int | None = None,
    attack_steps: int | None = None,
    minutes: int | None = None,
    seed: int = 0,
    name: str | None = None,
) -> tuple[Network, TeacherCard]:
    """Adversarially train a PreActResNet on `dataset`, with weight averaging, and keep it in the cache.

    Where neither `method` nor `epochs` is given, the training is the longest that this machine ends within `minutes`;
    else `attack_steps`, where given, are those of its inner attack in place of the recipe's.
    A training that was stopped goes on where it was. Where another process trains the same teacher, its result is
    waited for and taken. Raises UnknownNameError for a method that trains no teachers, ConfigError for a name that is
    taken, for `minutes` beside the other two, and for a teacher that knows little or resists nothing.
    """
    chosen = method is not None or epochs is not None
    if chosen and minutes is not None:
        raise ConfigError("--minutes: --method and --epochs say how long a training is: leave either out")
    recipe = _recipe(dataset, threat_model, method=method, epochs=epochs, attack_steps=attack_steps, seed=seed)
    limit = None if chosen else 60 * (minutes or MINUTES)
    name = default_name(dataset, threat_model, recipe.method) if name is None else name
    asked = _request(recipe, limit, dataset)
    check_writable(cache_folder() / name / "card")
    waiting = f"Another process is training {name}: waiting for it."
    with locked(cache_folder() / f".{asked}.lock", lambda: progress.say(waiting)):
        if name in kept_names() and (found := kept_teacher(name))[1].origin.endswith(f"request {asked}"):
            return found  # another process was quicker
        check_name(name, dataset, threat_model)
        plan = _plan_file(asked)
        training = _planned(plan, dataset, recipe, limit=limit, progress=progress)
        digest = hashlib.sha256(encode_json(training).encode()).hexdigest()[:12]  # of another plan, another checkpoint
        network = _trained(training, dataset, cache_folder() / f"{asked}.{digest}.training.pt", progress)
        measured = measure_teacher(network, dataset, threat_model, name=name, n=SAMPLE, progress=progress)
        kept = keep_teacher(network, name, dataset, f"{_origin(training.recipe)}, request {asked}", measured)
        for path in (plan, *cache_folder().glob(f"{asked}.*.training.pt")):
            path.unlink(missing_ok=True)
    return kept


def _recipe(
    dataset: Dataset,
    threat_model: ThreatModel,
    *,
    method: str | None,
    epochs: int | None,
    attack_steps: int | None,
    seed: int,
) -> Recipe:
    chosen = FOR_TEACHERS if method is None else load_method(method)
    if not chosen.trains_teachers:
        known = {each.name: each.description for each in METHODS.values() if each.trains_teachers}
        raise UnknownNameError("method that trains a teacher", chosen.name, words=known)
    settings = {"seed": seed, "batch": batch_for(dataset), "eps_warmup": EPS_WARMUP}
    settings |= {} if attack_steps is None else {"attack_steps": attack_steps}
    return recipe_for(chosen, threat_model, epochs=epochs or EPOCHS, settings=settings, where="the teacher's recipe")


def _request(recipe: Recipe, limit: int | None, dataset: Dataset) -> str:
    """What files of a training are called by: what was asked for, not what this machine made of it."""
    return hashlib.sha256((encode_json(recipe) + f"{limit} {dataset.sha256}").encode()).hexdigest()[:12]


def _plan_file(request: str) -> Path:
    return cache_folder() / f"{request}.plan.json"


def _planned(kept: Path, dataset: Dataset, recipe: Recipe, *, limit: int | None, progress: Progress) -> Training:
    """The training asked for, or the longest within `limit` seconds.

    The latter is written to `kept`, so that a run that goes on does not measure anew and choose another one.
    """
    rungs = ladder(dataset.train.image_shape[1])
    if limit is None:
        return Training(architecture=architecture_of(rungs[-1], dataset), recipe=recipe)
    if find_kind(kept) == "a file":
        try:
            return decode_json(Training, kept)
        except ArtefactError as e:
            progress.say(f"{e}; the training starts again")
    progress.say(f"measuring which teacher can be trained here in {duration(limit)}")
    training, seconds = affordable_training(dataset, recipe, seconds=limit, rungs=rungs)
    longer = "" if seconds <= limit else " (the shortest useful training)"
    progress.say(
        f"teacher: {training.architecture}, {training.recipe.epochs} epochs of {training.recipe.method}, attack steps: "
        f"{training.recipe.attack_steps}; about {duration(seconds)}{longer}"
    )
    if training.architecture != architecture_of(rungs[-1], dataset):
        progress.say("a larger teacher, which allows a larger student, takes longer: edgerkd teacher train --minutes N")
    write_atomic(kept, encode_json(training))
    return training


def _trained(training: Training, dataset: Dataset, checkpoint: Path, progress: Progress) -> Network:
    if find_kind(checkpoint) == "a file":
        try:
            load_checkpoint(checkpoint, training.recipe)
        except ArtefactError as e:
            progress.say(f"{e}; the training starts again")
            checkpoint.unlink()
    torch.manual_seed(training.recipe.seed)
    return train(
        build(training.architecture),
        dataset,
        training.recipe,
        teacher=None,
        checkpoint=checkpoint,
        resume=True,
        on_epoch=lambda epoch: None,
        progress=progress,
    ).network


def _origin(recipe: Recipe) -> str:
    steps = "" if load_method(recipe.method).single_step else f" with {recipe.attack_steps} steps"
    return f"trained here by {recipe.method}{steps}, {recipe.epochs} epochs, seed {recipe.seed}"


def default_name(dataset: Dataset, threat_model: ThreatModel, method: str) -> str:
    """What a teacher trained here is called: after its data, its method and its threat model."""
    stem = re.sub(r"[^\w.-]", "-", dataset.name).lstrip(".-") or "data"
    return f"{stem}-{method}-{threat_model.norm}-{str(threat_model.eps).replace('/', '-')}"


def batch_for(dataset: Dataset) -> int:
    """Images a step: 128, and 64 for data sets so small that an epoch would have few steps. Ours."""
    return 128 if len(dataset.train) >= 10_000 else 64
