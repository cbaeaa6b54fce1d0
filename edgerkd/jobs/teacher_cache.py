"""The teachers kept on this machine: a folder each, with the network and a card that says what it is."""

import os
from pathlib import Path

from edgerkd.core.errors import ArtefactError, UnknownNameError
from edgerkd.core.teacher import TeacherCard
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json
from edgerkd.models.network import Network
from edgerkd.models.store import WEIGHTS, load_network

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
