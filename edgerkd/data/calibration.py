"""Images that the ranges of a network's tensors are measured on. They need no labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.data_request import DataRequest
from edgerkd.core.errors import ConfigError, problems_text
from edgerkd.core.progress import Progress
from edgerkd.data.check import image_problems, rounded, with_channels
from edgerkd.data.folder import PICTURES
from edgerkd.data.pictures import bad_files, decode, look_at
from edgerkd.data.samples import Bytes, Checked, Samples
from edgerkd.files.arrays import open_arrays
from edgerkd.files.paths import find_kind, given_path, shown

LEAST, MOST = 32, 512
"""Images: ours. Fewer, and more, were not tried; a few say nothing of the rest."""
_NAMES = ("x_calibration", "images", "x", "x_train", "x_val", "x_test")
_LIMIT = 1 << 32  # bytes


def spare_images(data: Checked, judged: Samples, *, seed: int) -> Bytes:
    """Up to 512 images (n, h, w, c) of the training split, or of the only one there is; none of them is judged."""
    own = data.train
    used = {digest.tobytes() for digest in judged.digests}
    rows = np.asarray([row for row, digest in enumerate(own.digests) if digest.tobytes() not in used], np.int64)
    return own.take(np.random.default_rng(seed).permutation(rows)[:MOST]).images


def read_calibration(source: str, request: DataRequest, shape: tuple[int, int, int], *, progress: Progress) -> Bytes:
    """Up to 512 images (n, h, w, c) of an .npz file or of all the pictures below a folder, of this `shape` (h, w, c).

    Pictures are brought to it as `request` says of the data's. Raises ConfigError for what is missing, too little, of
    another shape or out of range.
    """
    path = given_path(source)
    kind = find_kind(path)
    if kind is None:
        raise ConfigError(f"{shown(path)}: --calibration: there is no such file or folder.")
    images = _pictures(path, request, shape, progress) if kind == "a folder" else _array(path)
    if problems := list(image_problems(images, "calibration images")):
        raise ConfigError(problems_text(shown(path), problems))
    images = with_channels(images)
    if images.shape[1:] != shape:
        raise ConfigError(f"{shown(path)}: calibration images are {images.shape[1:]}, and the data's {shape}")
    check_enough(images, shown(path))
    chosen = images[np.random.default_rng(0).permutation(len(images))[:MOST]]
    return chosen if chosen.dtype == np.uint8 else rounded(chosen, shown(path), "calibration images", [])


def check_enough(images: Bytes, where: str) -> None:
    """Raises ConfigError for fewer images than tell a range."""
    if len(images) < LEAST:
        raise ConfigError(
            f"{where}: {len(images)} images to measure ranges on, and at least {LEAST} are needed: name an .npz file "
            "or a folder of pictures with --calibration (no labels are needed)"
        )


def _array(path: Path) -> NDArray[Any]:
    if path.suffix != ".npz":
        raise ConfigError(f"{shown(path)}: --calibration takes an .npz file or a folder of pictures")
    with open_arrays(path, error=ConfigError) as archive:
        found = [name for name in _NAMES if name in archive.names] or list(archive.names)[:1]
        if not found:
            raise ConfigError(f"{shown(path)}: there is no array in it: write np.savez({path.name!r}, images=images)")
        return archive.read(found[0], limit=_LIMIT)


def _pictures(path: Path, request: DataRequest, shape: tuple[int, int, int], progress: Progress) -> Bytes:
    """At most 512, spread over the folder."""
    files = sorted(_files(path))
    files = [files[int(row)] for row in np.unique(np.linspace(0, len(files) - 1, min(len(files), MOST)).astype(int))]
    looks = look_at(files, request.alpha, lambda done: None)
    unfit = set(bad_files(path, files, [look.problem for look in looks], request))
    files = [file for row, file in enumerate(files) if row not in unfit]
    images = np.empty((len(files), *shape), np.uint8)
    with progress.stage("calibration images", len(files)) as advance:
        problems = decode(
            files, images, fit=request.fit, alpha=request.alpha, after=lambda done: advance(done, "pictures")
        )
    bad = bad_files(path, files, problems, request)
    return np.delete(images, bad, axis=0)


def _files(path: Path) -> Iterator[Path]:
    return (file for file in path.rglob("*") if file.suffix.lower() in PICTURES and not file.name.startswith("."))
