"""The teachers kept on this machine: a folder each, with the network and a card that says what it is."""

import os
from pathlib import Path

from edgerkd.core.errors import UnknownNameError
from edgerkd.core.teacher import TeacherCard
from edgerkd.files.decode import decode_json
from edgerkd.models.network import Network
from edgerkd.models.store import load_network

CARD = "card.json"


def cache_folder() -> Path:
    """Where teachers are kept: EDGERKD_CACHE, else `~/.cache/edgerkd`."""
    return Path(os.environ.get("EDGERKD_CACHE", "~/.cache/edgerkd")).expanduser() / "teachers"


def known_teachers() -> tuple[TeacherCard, ...]:
    """Every teacher in the cache, by name."""
    return tuple(decode_json(TeacherCard, path) for path in sorted(cache_folder().glob(f"*/{CARD}")))


def kept_teacher(name: str) -> tuple[Network, TeacherCard]:
    """The teacher of that name. Raises UnknownNameError, and ArtefactError for a damaged one."""
    cards = {card.name: card for card in known_teachers()}
    if name not in cards:
        raise UnknownNameError("teacher", name, cards)
    return load_network(cache_folder() / name), cards[name]
