"""Teachers: trained here once, imported from a file, or found in the cache."""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.progress import Progress
from edgerkd.core.recipe import MethodName, Recipe
from edgerkd.core.teacher import TeacherCard
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset
from edgerkd.distill.trainer import train
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import encode_json
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


def find_teacher(teacher: str | None, dataset: Dataset, *, progress: Progress) -> tuple[Network, TeacherCard]:
    """The teacher named (a name in the cache, or a file of weights), or the one there is for these data.

    For the embedded digits one is trained and kept where there is none. Raises ConfigError where the
    teacher does not fit the data, or none is there.
    """
    if teacher is None and dataset.name == "digits":
        teacher = default_name(dataset)
        if teacher not in kept_names():
            return train_teacher(dataset, progress=progress)
    if teacher is None:
        teacher = _only_teacher(dataset)
    elif teacher not in kept_names() and (Path(teacher).suffix in (".pt", ".pth", ".safetensors") or "/" in teacher):
        kept = _imported_before(Path(teacher).expanduser(), dataset)
        if kept is None:
            return import_teacher(teacher, dataset, name=None, accept_fragile=False, progress=progress)
        teacher = kept
    network, card = kept_teacher(teacher)
    check_fit(network.architecture, dataset, teacher)
    return network, card


def _only_teacher(dataset: Dataset) -> str:
    """The one teacher kept for these data and this threat model. Raises ConfigError for none and for several."""
    known = [card for card in known_teachers() if card.data_sha256 == dataset.sha256]
    fitting = [card for card in known if card.threat_model == dataset.threat_model]
    if len(fitting) == 1:
        return fitting[0].name
    kept = ", ".join(f"{card.name} ({card.threat_model})" for card in known) or "none"
    given = f"--data ... --eps {dataset.threat_model.eps}"
    raise ConfigError(
        f"--teacher: name a robust teacher for {dataset.name} under {dataset.threat_model} (kept for these data: "
        f"{kept}), or make one: `edgerkd teacher train {given}` or `edgerkd teacher import FILE {given}`"
    )


def _imported_before(path: Path, dataset: Dataset) -> str | None:
    """The teacher kept from this very file, which was read and measured on these data; None where there is none."""
    if not path.is_file():
        return None
    expected = sha256_of(path), dataset.sha256
    return next((card.name for card in known_teachers() if (card.source_sha256, card.data_sha256) == expected), None)


def train_teacher(
    dataset: Dataset,
    *,
    progress: Progress,
    method: MethodName = "pgd-at",
    epochs: int = 30,
    seed: int = 0,
    name: str | None = None,
) -> tuple[Network, TeacherCard]:
    """Adversarially train a PreActResNet on `dataset`, with weight averaging, and keep it in the cache.

    A training that was stopped goes on from its last whole epoch. Raises UnknownNameError for a method that
    is none of METHODS, ConfigError for a name that is taken.
    """
    if method not in METHODS:
        raise UnknownNameError("method that trains a teacher", method, METHODS)
    deep = dataset.train.images.shape[2] >= 32
    architecture = dataset.architecture(
        "preactresnet",
        widths=(32, 64, 128, 256) if deep else (16, 32, 64),
        blocks=(2, 2, 2, 2) if deep else (2, 2, 2),
    )
    recipe = Recipe(
        method=method, threat_model=dataset.threat_model, epochs=epochs, seed=seed, batch=batch_for(dataset)
    )
    name = name or default_name(dataset, method)
    check_name(name, dataset)
    made_of = encode_json(recipe) + encode_json(architecture) + dataset.sha256
    checkpoint = cache_folder() / f"{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.training.pt"
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
    found = measure_teacher(network, dataset, name=name, n=SAMPLE, progress=progress)
    kept = keep_teacher(network, name, dataset, f"trained here by {recipe.method}, {epochs} epochs, seed {seed}", found)
    checkpoint.unlink(missing_ok=True)
    return kept


def with_eps(dataset: Dataset, eps: Radius | None) -> Dataset:
    """The data at another radius of its threat model, if one is given. Raises ConfigError for 0."""
    if eps is None:
        return dataset
    if eps == 0:
        raise ConfigError("--eps 0: nothing is attacked within a radius of 0: write one above 0, like 8/255")
    return replace(dataset, threat_model=replace(dataset.threat_model, eps=eps))


def default_name(dataset: Dataset, method: MethodName = "pgd-at") -> str:
    """What a teacher trained here is called: after its data, its method and its threat model."""
    threat_model = dataset.threat_model
    return f"{dataset.name}-{method}-{threat_model.norm}-{str(threat_model.eps).replace('/', '-')}"


def batch_for(dataset: Dataset) -> int:
    """Images a step: 128, and 64 for data sets so small that an epoch would have few steps. Ours."""
    return 128 if len(dataset.train) >= 10_000 else 64
