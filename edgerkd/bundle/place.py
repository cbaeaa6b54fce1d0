"""Where a bundle may be written: it replaces all that is in its folder, so nothing else may be there."""

import re
from pathlib import Path
from typing import get_args

from edgerkd.bundle.card import CARD
from edgerkd.bundle.signature import SIGNATURE
from edgerkd.core.errors import ConfigError
from edgerkd.core.manifest import MANIFEST, SAMPLES
from edgerkd.core.precision import Precision
from edgerkd.files.paths import check_folder, find_kind, shown

_OWN = re.compile(
    rf"{'|'.join(map(re.escape, (MANIFEST, SAMPLES, SIGNATURE)))}"
    rf"|({'|'.join(get_args(Precision))})(-.+)?\.(onnx|twin\.onnx|reference\.npz|engine(\..+)?)"
)
_SHOWN = 3  # names in an error


def check_place(folder: Path) -> None:
    """Whether nothing is at `folder`, or a folder that is empty or has a bundle, whole or damaged, and nothing else.

    Raises ConfigError, naming what would be lost.
    """
    if folder.is_symlink():
        raise ConfigError(f"{shown(folder)}: this is a link, and a bundle takes a folder's place: name the folder.")
    kind = find_kind(folder)
    if kind is None:
        return
    if kind != "a folder":
        raise ConfigError(f"{shown(folder)}: this is {kind}: a bundle is a folder, so name another one.")
    check_folder(folder)
    names = sorted(each.name for each in folder.iterdir())
    bundled = [name for name in names if _OWN.fullmatch(name)]
    others = [name for name in names if name not in bundled and not (bundled and name == CARD)]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise ConfigError(
            f"{shown(folder)}: {', '.join(shown(name) for name in others[:_SHOWN])}{more} there, and a bundle replaces "
            "all that is in its folder: name another folder, or move that away."
        )
