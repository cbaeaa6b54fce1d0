"""An .npz file: x_train, y_train, x_test, y_test, and what else it may say of them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ConfigError
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.data.cache import Say, cached, identity, key_of
from edgerkd.data.samples import Raw, RawSplit
from edgerkd.files.arrays import Archive, open_arrays
from edgerkd.files.paths import shown

NEEDED = ("x_train", "y_train", "x_test", "y_test")
TO_JUDGE = ("x_test", "y_test")
"""What is needed where nothing is trained."""
OPTIONAL = ("x_val", "y_val", "group_train", "class_names")
IN_MEMORY = 1 << 30
"""Bytes of an array of images above which it is unpacked into the cache and mapped. Ours."""
_LARGEST, _LABELS = 1 << 42, 1 << 28


def load_npz(path: Path, *, say: Say, needed: tuple[str, ...] = NEEDED) -> Raw:
    """Images and labels of the splits; `group_train` numbers objects, `class_names` names the classes.

    Where only a test split is `needed`, and there is no other, it stands in `train`.

    Raises ConfigError for a file that is none, damaged, or without the arrays that are needed.
    """
    with open_arrays(path, error=ConfigError) as archive:
        missing = [name for name in needed if name not in archive.names]
        if ("x_val" in archive.names) != ("y_val" in archive.names):
            missing.append("y_val" if "x_val" in archive.names else "x_val")
        if missing:
            known = ", ".join(printable(name, 40) for name in archive.names[:8]) or "none"
            raise ConfigError(
                f"{shown(path)}: there is no array named {', '.join(missing)} (it has {known}). An .npz data set has "
                f"{', '.join(needed)}; {', '.join(OPTIONAL)} if there are such."
            )
        splits = {
            split: _split(path, archive, split, say)
            for split in ("train", "val", "test")
            if f"x_{split}" in archive.names
        }
        names = _names(path, archive)
    others = [name for name in archive.names if name not in (*NEEDED, *OPTIONAL)]
    notes = (f"Arrays not read: {', '.join(printable(name, 40) for name in others[:5])}.",) if others else ()
    return Raw(
        name=printable(path.stem, LONGEST_NAME // 2),
        where=shown(path),
        train=splits["train"] if "train" in splits else splits["test"],
        val=splits.get("val"),
        test=splits["test"] if "train" in splits else None,
        names=names,
        notes=notes,
    )


def _split(path: Path, archive: Archive, split: str, say: Say) -> RawSplit:
    groups = f"group_{split}"
    return RawSplit(
        images=_images(path, archive, f"x_{split}", say),
        labels=archive.read(f"y_{split}", limit=_LABELS),
        groups=archive.read(groups, limit=_LABELS) if split == "train" and groups in archive.names else None,
        images_name=f"x_{split}",
        labels_name=f"y_{split}",
    )


def _images(path: Path, archive: Archive, name: str, say: Say) -> NDArray[Any]:
    """In memory, or where they are large in a mapped file."""
    header = archive.header(name)
    if header.nbytes <= IN_MEMORY or header.dtype != np.uint8 or len(header.shape) not in (3, 4) or header.fortran:
        return archive.read(name, limit=_LARGEST)
    n, height, width, *channels = header.shape
    key = key_of({"npz": identity(path), "name": name})

    def fill(pixels: NDArray[np.uint8]) -> list[int]:
        archive.read(name, limit=_LARGEST, make=lambda header: pixels.reshape(header.shape))
        return []

    found = cached(key, (n, height, width, channels[0] if channels else 1), fill, say=say)
    return found.pixels.reshape(header.shape)


def _names(path: Path, archive: Archive) -> tuple[str, ...] | None:
    if "class_names" not in archive.names:
        return None
    names = archive.read("class_names", limit=_LABELS)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise ConfigError(
            f"{shown(path)}: class_names is {names.dtype} {names.shape}: expected a text for each class, "
            'np.array(["cat", "dog"]).'
        )
    return tuple(str(name) for name in names)
