"""Teachers: trained here once, imported from a file, or found in the cache."""

import hashlib
import re
from pathlib import Path

import torch

from edgerkd.core.architecture import Architecture
from edgerkd.core.errors import ConfigError, problems_text
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.progress import Progress
from edgerkd.core.recipe import Recipe
from edgerkd.core.teacher import TeacherCard
from edgerkd.data.dataset import Dataset
from edgerkd.distill.trainer import train
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.jobs.evaluate import attack_network
from edgerkd.jobs.teacher_cache import CARD, cache_folder, kept_teacher, known_teachers
from edgerkd.models.build import build
from edgerkd.models.network import Network
from edgerkd.models.store import load_network, save_network, weights_bytes
from edgerkd.models.teacher_file import network_from_state, read_state_dict

SCHEMA = 1
SAMPLE = 500  # images of the validation split a teacher is checked on


def find_teacher(teacher: str | None, dataset: Dataset, *, progress: Progress) -> tuple[Network, TeacherCard]:
    """The teacher named (a name in the cache, or a file of weights), or the one there is for these data.

    For the embedded digits one is trained and kept where there is none. Raises ConfigError where the
    teacher does not fit the data, or none is there.
    """
    if teacher is None and dataset.name == "digits":
        teacher = default_name(dataset)
        if not (cache_folder() / teacher / CARD).exists():
            return train_teacher(dataset, progress=progress)
    cards = {card.name: card for card in known_teachers()}
    if teacher is None:
        fitting = [
            card
            for card in cards.values()
            if (card.data_sha256, card.threat_model) == (dataset.sha256, dataset.threat_model)
        ]
        if len(fitting) != 1:
            known = ", ".join(card.name for card in fitting) or "none"
            raise ConfigError(
                f"--teacher: name a robust teacher for {dataset.name} under {dataset.threat_model} (known: {known}), "
                "or import one: `edgerkd teacher import FILE --data ...`"
            )
        teacher = fitting[0].name
    elif teacher not in cards and (Path(teacher).suffix in (".pt", ".pth", ".safetensors") or "/" in teacher):
        return import_teacher(Path(teacher), dataset, name=None, accept_fragile=False, progress=progress)
    network, card = kept_teacher(teacher)
    _check_fit(network.architecture, dataset, teacher)
    return network, card


def import_teacher(
    path: Path, dataset: Dataset, *, name: str | None, accept_fragile: bool, progress: Progress
) -> tuple[Network, TeacherCard]:
    """Read a file of weights, measure it on `dataset`, and keep it in the cache as `name` (else the file's stem).

    Where the file has no normalisation, images as they are and images normalised by the data's own
    moments are both tried, and the more accurate one is kept: found by measuring, not by guessing.
    Raises ArtefactError for a file that is not plain weights, ConfigError for a teacher that does not
    fit the data or resists nothing.
    """
    name = _checked_name(name or path.stem)
    state = read_state_dict(path)
    shape = tuple(dataset.train.images.shape[1:])
    channels = shape[0]
    moments = [(torch.zeros(channels), torch.ones(channels)), (torch.tensor(dataset.mean), torch.tensor(dataset.std))]
    networks = [
        network_from_state(state, path, image_shape=(shape[0], shape[1], shape[2]), moments=pair) for pair in moments
    ]
    if networks[0].architecture.mean == networks[1].architecture.mean:
        networks = networks[:1]
    for network in networks:
        _check_fit(network.architecture, dataset, str(path))
    sample = dataset.val.head(SAMPLE)
    attacked = [
        attack_network(
            network, sample, name=path.name, where="val", threat_model=dataset.threat_model, seed=0, progress=progress
        )
        for network in networks
    ]
    best = max(range(len(networks)), key=lambda i: attacked[i].evaluation.clean_acc.value)
    found = attacked[best].evaluation
    if found.robust_acc.low <= 1 / dataset.classes and not accept_fragile:  # no better than chance; ours
        raise ConfigError(
            f"{path}: this teacher resists nothing: clean {found.clean_acc}, under {found.threat_model} "
            f"{found.robust_acc}: a student would learn no robustness from it; --accept-fragile imports it all the same"
        )
    origin = f"imported from {path.name}, sha256 {sha256_of(path)}"
    return _keep(networks[best], name, dataset, origin, found)


def train_teacher(
    dataset: Dataset, *, progress: Progress, epochs: int = 30, seed: int = 0, name: str | None = None
) -> tuple[Network, TeacherCard]:
    """Adversarially train a PreActResNet on `dataset` (PGD-AT with weight averaging) and keep it in the cache."""
    channels, height, width = dataset.train.images.shape[1:]
    deep = height >= 32
    architecture = Architecture(
        family="preactresnet",
        widths=(32, 64, 128, 256) if deep else (16, 32, 64),
        blocks=(2, 2, 2, 2) if deep else (2, 2, 2),
        channels=channels,
        height=height,
        width=width,
        classes=dataset.classes,
        mean=dataset.mean,
        std=dataset.std,
    )
    recipe = Recipe(
        method="pgd-at", threat_model=dataset.threat_model, epochs=epochs, seed=seed, batch=batch_for(dataset)
    )
    name = _checked_name(name or default_name(dataset))
    made_of = encode_json(recipe) + encode_json(architecture) + dataset.sha256
    checkpoint = cache_folder() / f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.training.pt"
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
    found = attack_network(
        network,
        dataset.val.head(SAMPLE),
        name=name,
        where="val",
        threat_model=dataset.threat_model,
        seed=0,
        progress=progress,
    ).evaluation
    kept = _keep(network, name, dataset, f"trained here by {recipe.method}, {epochs} epochs, seed {seed}", found)
    checkpoint.unlink()
    return kept


def default_name(dataset: Dataset) -> str:
    """What a teacher trained here is called: after its data and its threat model."""
    threat_model = dataset.threat_model
    return f"{dataset.name}-pgd-at-{threat_model.norm}-{str(threat_model.eps).replace('/', '-')}"


def _checked_name(name: str) -> str:
    if re.fullmatch(r"\w[\w.-]*", name) is None:
        raise ConfigError(f"--name {name!r}: a teacher's name is letters, digits, '.', '_' and '-', no folder")
    return name


def batch_for(dataset: Dataset) -> int:
    """Images a step: 128, and 64 for data sets so small that an epoch would have few steps. Ours."""
    return 128 if len(dataset.train) >= 10_000 else 64


def _check_fit(architecture: Architecture, dataset: Dataset, teacher: str) -> None:
    shape = tuple(dataset.train.images.shape[1:])
    problems: list[str] = []
    if architecture.image_shape != shape:
        problems.append(f"it takes images {architecture.image_shape}, {dataset.name} has {shape}")
    if architecture.classes != dataset.classes:
        problems.append(f"it knows {architecture.classes} classes, {dataset.name} has {dataset.classes}")
    if problems:
        raise ConfigError(
            problems_text(f"teacher {teacher} does not fit the data", problems) + "\nname its data with --data"
        )


def _keep(network: Network, name: str, dataset: Dataset, origin: str, found: Evaluation) -> tuple[Network, TeacherCard]:
    """Store a teacher with its card, which says what was found on the validation split."""
    folder = cache_folder() / name
    card = TeacherCard(
        schema=SCHEMA,
        name=name,
        dataset=dataset.name,
        data_sha256=dataset.sha256,
        origin=origin,
        architecture=network.architecture,
        threat_model=dataset.threat_model,
        n=found.n,
        clean_acc=found.clean_acc,
        robust_acc=found.robust_acc,
        weights_sha256=hashlib.sha256(weights_bytes(network)).hexdigest(),
    )
    if (folder / CARD).exists() and decode_json(TeacherCard, folder / CARD).weights_sha256 != card.weights_sha256:
        raise ConfigError(f"a teacher named {name} is kept already, with other weights: choose another --name")
    save_network(network.cpu(), folder, {CARD: encode_json(card)})
    return load_network(folder), card
