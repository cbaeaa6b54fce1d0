"""The teachers kept on this machine: a folder each, with the network and a card that says what it is."""

import hashlib
import os
import re
from pathlib import Path

from edgerkd.core.errors import ArtefactError, ConfigError, UnknownNameError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.run_record import RunRecord
from edgerkd.core.teacher import TeacherCard
from edgerkd.data.dataset import Dataset
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.models.network import Network
from edgerkd.models.store import WEIGHTS, load_network, save_network, weights_bytes

SCHEMA = 1
CARD = "card.json"


def cache_folder() -> Path:
    """Where teachers are kept: EDGERKD_CACHE, else `~/.cache/edgerkd`."""
    return Path(os.environ.get("EDGERKD_CACHE", "~/.cache/edgerkd")).expanduser() / "teachers"


def known_teachers() -> tuple[TeacherCard, ...]:
    """Every teacher in the cache, by name."""
    return tuple(decode_json(TeacherCard, path) for path in sorted(cache_folder().glob(f"*/{CARD}")))


def kept_teacher(name: str) -> tuple[Network, TeacherCard]:
    """The teacher of that name. Raises UnknownNameError, and ArtefactError for a damaged one."""
    folder = cache_folder() / name
    if not (folder / CARD).is_file():
        raise UnknownNameError("teacher", name, (path.parent.name for path in cache_folder().glob(f"*/{CARD}")))
    card = decode_json(TeacherCard, folder / CARD)
    if (folder / WEIGHTS).is_file() and sha256_of(folder / WEIGHTS) != card.weights_sha256:
        raise ArtefactError(f"{folder / WEIGHTS}: changed since the teacher was kept: remove {folder} and make it anew")
    return load_network(folder), card


def teacher_of(record: RunRecord) -> Network:
    """The teacher a run learned from. Raises ConfigError where it is not, or no longer, kept here."""
    if record.teacher is None:
        raise ConfigError("the run has no teacher")
    network, card = kept_teacher(record.teacher)
    if card.weights_sha256 != record.teacher_sha256:
        raise ConfigError(f"{card.name} is no longer the teacher of this run: see `edgerkd teacher list`")
    return network


def checked_name(name: str) -> str:
    """The name, if it may be a teacher's. Raises ConfigError."""
    if re.fullmatch(r"\w[\w.-]*", name) is None:
        raise ConfigError(f"--name {name!r}: a teacher's name is letters, digits, '.', '_' and '-', no folder")
    return name


def keep_teacher(
    network: Network, name: str, dataset: Dataset, origin: str, found: Evaluation
) -> tuple[Network, TeacherCard]:
    """Store a teacher with its card, which says what was found on the validation split.

    Raises ConfigError where another teacher is kept under that name.
    """
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
