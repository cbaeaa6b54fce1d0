"""Teachers: trained here once, imported from a file, or found in the cache."""

import hashlib
import re
from pathlib import Path

import torch

from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.progress import Progress
from edgerkd.core.recipe import MethodName, Recipe
from edgerkd.core.teacher import TeacherCard
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Dataset
from edgerkd.distill.trainer import train
from edgerkd.files.atomic import check_writable, locked, sha256_of
from edgerkd.files.decode import encode_json
from edgerkd.files.paths import find_kind, given_path
from edgerkd.jobs.teacher_cache import (
    cache_folder,
    check_name,
    keep_teacher,
    kept_names,
    kept_teacher,
    known_teachers,
)
from edgerkd.jobs.teacher_import import SAMPLE, check_fit, import_teacher, measure_teacher
from edgerkd.models.build import build
from edgerkd.models.network import Network

METHODS: tuple[MethodName, ...] = ("pgd-at", "trades", "n-fgsm")
"""What trains a robust network without a teacher."""
EPOCHS = 30


def find_teacher(
    teacher: str | None, dataset: Dataset, threat_model: ThreatModel, *, progress: Progress
) -> tuple[Network, TeacherCard]:
    """The teacher named (a name in the cache, or a file of weights), or the one there is for these data.

    Where none is there, one is trained and kept. Raises ConfigError where the teacher does not fit the data, knows
    little or resists nothing, and where several are there and none is named.
    """
    if teacher is None:
        fitting = _fitting(dataset, threat_model)
        if not fitting:
            return train_teacher(dataset, threat_model, progress=progress)
        teacher = _chosen(fitting, dataset, threat_model)
    elif teacher not in kept_names() and (Path(teacher).suffix in (".pt", ".pth", ".safetensors") or "/" in teacher):
        kept = _imported_before(given_path(teacher), dataset)
        if kept is None:
            return import_teacher(teacher, dataset, threat_model, name=None, accept_fragile=False, progress=progress)
        teacher = kept
    network, card = kept_teacher(teacher)
    check_fit(network.architecture, dataset, teacher)
    return network, card


def _fitting(dataset: Dataset, threat_model: ThreatModel) -> tuple[str, ...]:
    """The teachers kept for these data and this threat model."""
    return tuple(
        card.name
        for card in known_teachers()
        if card.data_sha256 == dataset.sha256 and card.threat_model == threat_model
    )


def _chosen(fitting: tuple[str, ...], dataset: Dataset, threat_model: ThreatModel) -> str:
    """The only one, or the one trained here by default. Raises ConfigError where that leaves several."""
    default = [name for name in fitting if name in {default_name(dataset, threat_model, m) for m in METHODS}]
    for names in (fitting, default):
        if len(names) == 1:
            return names[0]
    raise ConfigError(
        f"--teacher: several are kept for {dataset.name} under {threat_model}, {', '.join(fitting)}: name one of them."
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
    method: MethodName | None = None,
    epochs: int | None = None,
    seed: int = 0,
    name: str | None = None,
) -> tuple[Network, TeacherCard]:
    """Adversarially train a PreActResNet on `dataset`, with weight averaging, and keep it in the cache.

    A training that was stopped goes on where it was. Where another process trains the same teacher, its result is
    waited for and taken. Raises UnknownNameError for a method that is none of METHODS, ConfigError for a name that is
    taken, and for a teacher that knows little or resists nothing.
    """
    method = method or "pgd-at"
    if method not in METHODS:
        raise UnknownNameError("method that trains a teacher", method, METHODS)
    deep = dataset.train.image_shape[1] >= 32
    architecture = dataset.architecture(
        "preactresnet",
        widths=(32, 64, 128, 256) if deep else (16, 32, 64),
        blocks=(2, 2, 2, 2) if deep else (2, 2, 2),
    )
    recipe = Recipe(
        method=method, threat_model=threat_model, epochs=epochs or EPOCHS, seed=seed, batch=batch_for(dataset)
    )
    name = name or default_name(dataset, threat_model, method)
    made_of = hashlib.sha256((encode_json(recipe) + encode_json(architecture) + dataset.sha256).encode()).hexdigest()
    origin = f"trained here by {recipe.method}, {recipe.epochs} epochs, seed {seed}, recipe {made_of[:12]}"
    check_writable(cache_folder() / name / "card")
    waiting = f"Another process trains {name}: waiting for it."
    with locked(cache_folder() / f".{made_of[:12]}.lock", lambda: progress.say(waiting)):
        if name in kept_names() and (found := kept_teacher(name))[1].origin == origin:
            return found  # another process was quicker
        check_name(name, dataset, threat_model)
        checkpoint = cache_folder() / f"{made_of[:12]}.training.pt"
        torch.manual_seed(seed)
        network = train(
            build(architecture),
            dataset,
            recipe,
            teacher=None,
            checkpoint=checkpoint,
            resume=True,
            on_epoch=lambda epoch: None,
            progress=progress,
        ).network
        measured = measure_teacher(network, dataset, threat_model, name=name, n=SAMPLE, progress=progress)
        kept = keep_teacher(network, name, dataset, origin, measured)
        checkpoint.unlink(missing_ok=True)
    return kept


def default_name(dataset: Dataset, threat_model: ThreatModel, method: MethodName) -> str:
    """What a teacher trained here is called: after its data, its method and its threat model."""
    stem = re.sub(r"[^\w.-]", "-", dataset.name).lstrip(".-") or "data"
    return f"{stem}-{method}-{threat_model.norm}-{str(threat_model.eps).replace('/', '-')}"


def batch_for(dataset: Dataset) -> int:
    """Images a step: 128, and 64 for data sets so small that an epoch would have few steps. Ours."""
    return 128 if len(dataset.train) >= 10_000 else 64
