"""Where a bundle may be written: it replaces all that is in its folder, so nothing else may be there."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from edgerkd.bundle.card import CARD
from edgerkd.bundle.signature import SIGNATURE
from edgerkd.core.errors import ConfigError, EdgerkdError
from edgerkd.core.manifest import MANIFEST, SAMPLES, Manifest
from edgerkd.core.precision import Precision
from edgerkd.files.decode import decode_json
from edgerkd.files.paths import check_folder, find_kind, shown

_MADE = re.compile(
    rf"{'|'.join(map(re.escape, (MANIFEST, SAMPLES, SIGNATURE, CARD)))}"
    rf"|({'|'.join(get_args(Precision))})(-.+)?\.(onnx|twin\.onnx|reference\.npz|engine(\..+)?)"
)
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what desktops leave wherever a folder is looked at
_SHOWN = 3  # names in an error


def check_place(folder: Path, *, in_run: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Whether nothing is at `folder`, or an empty folder, or a bundle and nothing else; and none of the `inputs`.

    In the folder of a run the bundle may be a damaged one, which is to be made anew. Raises ConfigError, naming what
    would be lost, and StorageError where it cannot be looked at.
    """
    try:
        link = folder.is_symlink()
    except OSError as e:
        raise ConfigError(f"{shown(folder)}: no folder can have this name: {e.strerror}.") from e
    kind = find_kind(folder)
    if kind is None:
        return
    if link or kind != "a folder":
        raise ConfigError(
            f"{shown(folder)}: this is {'a link' if link else kind}, and a bundle takes a folder's place."
        )
    check_folder(folder)
    names = {each.name for each in folder.iterdir()}
    if others := sorted(names - _LITTER - _of_bundle(folder, names, in_run=in_run)):
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        raise ConfigError(
            f"{shown(folder)}: {', '.join(shown(name) for name in others[:_SHOWN])}{more} there, and a bundle replaces "
            "all that is in its folder: name another folder, or move that away."
        )
    for path in inputs:
        if folder.resolve() in path.resolve().parents:
            raise ConfigError(
                f"{shown(path)} is in the folder that the bundle would replace: copy it elsewhere, or name another "
                "folder for the bundle."
            )


def _of_bundle(folder: Path, names: set[str], *, in_run: bool) -> set[str]:
    """Those names that the bundle there lists; in a run's folder all that a bundle's files are called."""
    if in_run:
        return {name for name in names if _MADE.fullmatch(name)}
    try:
        return {MANIFEST, SIGNATURE, *decode_json(Manifest, folder / MANIFEST).files}
    except EdgerkdError:  # none, or one that cannot be read: then nothing there is known to be a bundle's
        return set()
