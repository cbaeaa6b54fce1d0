"""The teachers kept on this machine: a folder each, with the network and a card that says what it is."""

import hashlib
import re
from pathlib import Path

import edgerkd.jobs.host  # noqa: F401  first: see there
from edgerkd.core.errors import ArtefactError, ConfigError, UnknownNameError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.run_record import RunRecord
from edgerkd.core.teacher import TeacherCard, check_robust
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Dataset
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.paths import own_folder, shown
from edgerkd.models.network import Network
from edgerkd.models.store import ARCHITECTURE, GRAPH, WEIGHTS, load_network, save_network, weights_bytes, weights_file

CARD = "card.json"


def cache_folder() -> Path:
    """Where teachers are kept: the folder `teachers` in EDGERKD_CACHE, else in `~/.cache/edgerkd`."""
    return own_folder("EDGERKD_CACHE", "~/.cache/edgerkd") / "teachers"


def kept_names() -> tuple[str, ...]:
    """The name of every teacher in the cache. A folder that begins with a dot was never finished."""
    return tuple(sorted(path.parent.name for path in cache_folder().glob(f"[!.]*/{CARD}")))


def known_teachers() -> tuple[TeacherCard, ...]:
    """Every teacher in the cache, by name. Raises ArtefactError for a damaged card."""
    return tuple(map(_card, kept_names()))


def _card(name: str) -> TeacherCard:
    folder = cache_folder() / name
    try:
        return decode_json(TeacherCard, folder / CARD)
    except ArtefactError as e:
        raise ArtefactError(f"{e}\nremove {folder} and train or import the teacher again") from e


def kept_teacher(name: str) -> tuple[Network, TeacherCard]:
    """The teacher of that name. Raises UnknownNameError, and ArtefactError for a damaged one."""
    if name not in (known := kept_names()):
        raise UnknownNameError("teacher", name, known)
    folder, card = cache_folder() / name, _card(name)
    check_robust(card)
    weights = folder / weights_file(card.architecture)
    if weights.is_file() and sha256_of(weights) != card.weights_sha256:
        raise ArtefactError(
            f"{weights}: changed since the teacher was cached: remove {folder} and train or import it again"
        )
    return load_network(folder), card


def teacher_of(record: RunRecord) -> Network:
    """The teacher a run learned from. Raises ConfigError where it is not, or no longer, kept here."""
    if record.teacher is None:
        raise ConfigError("the run has no teacher")
    network, card = kept_teacher(record.teacher)
    if card.weights_sha256 != record.teacher_sha256:
        raise ConfigError(f"{card.name} is no longer the teacher of this run: see `edgerkd teacher list`")
    return network


def check_name(name: str, dataset: Dataset, threat_model: ThreatModel, source_sha256: str | None = None) -> None:
    """Raises ConfigError where the name may not be a teacher's, or is taken.

    A teacher imported from the file of `source_sha256` may take its own place, for the same data and threat model.
    """
    if re.fullmatch(r"\w[\w.-]*", name) is None:
        raise ConfigError(
            f"{name!r} cannot be a teacher's name, which is letters, digits, '.', '_' and '-', no folder: give "
            "`edgerkd teacher` another --name"
        )
    folder = cache_folder() / name
    if others := {each.name for each in folder.glob("*")} - {CARD, ARCHITECTURE, WEIGHTS, GRAPH}:
        raise ConfigError(
            f"{shown(folder)}: {shown(min(others))} is there, and a teacher replaces all that is in its folder: give "
            "`edgerkd teacher` another --name, or move that away"
        )
    if name not in kept_names():
        return
    card = _card(name)
    own = card.source_sha256, card.data_sha256, card.threat_model
    if source_sha256 is None or own != (source_sha256, dataset.sha256, threat_model):
        raise ConfigError(
            f"a teacher named {name} is already in the cache, for {card.dataset} under {card.threat_model} "
            f"({card.origin}): give `edgerkd teacher` another --name, or remove {cache_folder() / name}"
        )


def keep_teacher(
    network: Network,
    name: str,
    dataset: Dataset,
    origin: str,
    found: Evaluation,
    source_sha256: str | None = None,
    *,
    accept_fragile: bool = False,
) -> tuple[Network, TeacherCard]:
    """Store a teacher with its card, which says what was found on the validation split.

    Raises ConfigError as `check_name` does, and for one that resists nothing unless `accept_fragile`.
    """
    check_name(name, dataset, found.threat_model, source_sha256)
    folder = cache_folder() / name
    card = TeacherCard(
        name=name,
        dataset=dataset.name,
        data_sha256=dataset.sha256,
        origin=origin,
        architecture=network.architecture,
        threat_model=found.threat_model,
        n=found.n,
        clean_acc=found.clean_acc,
        robust_acc=found.robust_acc,
        by_class=found.by_class,
        accepted_fragile=accept_fragile,
        weights_sha256=hashlib.sha256(weights_bytes(network)).hexdigest(),
        source_sha256=source_sha256,
    )
    check_robust(card)
    save_network(network.cpu(), folder, {CARD: encode_json(card)})
    return load_network(folder), card
