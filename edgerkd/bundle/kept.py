"""The images and outcomes that `verify` keeps beside its report, as an .npz file."""

import hashlib
import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ArtefactError, problems_text
from edgerkd.files.arrays import read_arrays

LIMIT = 8 << 20
"""Bytes of the images that are kept. Ours: eight of ImageNet's size have 6 MB."""
_ARRAY_LIMIT = 64 << 20
"""Bytes of one array that is read: the outcomes of a million images have 8 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Of the n images judged: `ids` uint64, `clean` and `robust` whether they were answered right, and `distances`.

    A distance float32 is the length of the smallest change that was found to fool, 0 where none is needed, infinite
    where none was found. `rows` int64 (k,) are those of which there are `images` uint8 and `images_adv` float32
    (k, c, h, w), with the `labels`, what the engine answered to either, `answers` and `answers_adv`, and its softmax
    for that answer, `shares` and `shares_adv` float32 (k,).
    """

    ids: NDArray[np.uint64]
    clean: NDArray[np.bool_]
    robust: NDArray[np.bool_]
    distances: NDArray[np.float32]
    rows: NDArray[np.int64]
    images: NDArray[np.uint8]
    images_adv: NDArray[np.float32]
    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    answers_adv: NDArray[np.int64]
    shares: NDArray[np.float32]
    shares_adv: NDArray[np.float32]


_TYPES: dict[str, tuple[Any, str]] = {  # Any: NumPy scalar types have no common public type
    "ids": (np.uint64, "n"),
    "clean": (np.bool_, "n"),
    "robust": (np.bool_, "n"),
    "distances": (np.float32, "n"),
    "rows": (np.int64, "k"),
    "images": (np.uint8, "kchw"),
    "images_adv": (np.float32, "kchw"),
    "labels": (np.int64, "k"),
    "answers": (np.int64, "k"),
    "answers_adv": (np.int64, "k"),
    "shares": (np.float32, "k"),
    "shares_adv": (np.float32, "k"),
}


def kept_path(report: Path) -> Path:
    """Where the images of a report lie: beside it."""
    return report.with_name(f"{report.stem}.images.npz")


def ids_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A number for each of the images (n, c, h, w) by which it is known again: the first 8 bytes of its SHA-256."""
    digests = [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()[:8] for image in pixels]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def kept_bytes(kept: Kept) -> bytes:
    """All of it as a compressed .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{field.name: getattr(kept, field.name) for field in fields(kept)})
    return buffer.getvalue()


def read_kept(path: Path) -> Kept:
    """Raises ArtefactError for a file that is none, or holds arrays of wrong type, shape or range."""
    found = read_arrays(path, tuple(_TYPES), limit=_ARRAY_LIMIT)
    problems: list[str] = []
    sizes: dict[str, int] = {}
    for name, (expected, axes) in _TYPES.items():
        array = found[name]
        sizes |= {axis: size for axis, size in zip(axes, array.shape, strict=False) if axis not in sizes}
        shape = tuple(sizes.get(axis, -1) for axis in axes)
        if array.dtype != expected or array.shape != shape:
            problems.append(f"{name} is {array.dtype} {array.shape}: expected {expected.__name__} {shape}")
        elif np.isnan(array).any() or array.min(initial=0) < 0:
            problems.append(f"{name} holds NaN or negative values")
        elif name in ("images_adv", "shares", "shares_adv") and array.max(initial=0) > 1:
            problems.append(f"{name} must be within [0, 1]")
    if not problems and sizes["k"] and found["rows"].max() >= sizes["n"]:
        problems.append("rows names images that were not judged")
    if problems:
        raise ArtefactError(problems_text(path, problems))
    return Kept(**found)
