"""Images and labels: as a loader read them, and as they are once checked."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_DIGEST = 32  # bytes
_BLOCK = 16 << 20  # bytes of images that one thread digests at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSplit:
    """Arrays of any kind, until data/check.py has looked at them. `groups` and `files` as in `Samples`.

    `images_name` and `labels_name` are how messages call them.
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None
    files: Sequence[str] | None = None
    digests: Bytes | None = None
    images_name: str = "images"
    labels_name: str = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """What a loader read. `val` and `test` are None where the data have no such split.

    `where` is how messages name the data, `names` are those of the classes, if the data name them, and `notes` say
    what was decided while reading.
    """

    name: str
    where: str
    train: RawSplit
    val: RawSplit | None = None
    test: RawSplit | None = None
    names: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    """(height, width) that pictures were brought to; None where the images are as they came."""
    notes: tuple[str, ...] = ()

    def splits(self) -> dict[str, RawSplit]:
        """Those that there are, by name."""
        found = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in found.items() if split is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """n images with their labels, without a copy of their pixels.

    `pixels` uint8 (N, height, width, channels) lie in memory or in a mapped file, `rows` (n,) says which of them these
    are; `labels` int64 (n,); `digests` (n, 32) tell images apart by their bytes. `groups` int64 (n,), where given:
    images of one number show one object. `files` (n,) name the pictures.
    """

    pixels: Bytes
    rows: Ints
    labels: Ints
    digests: Bytes
    groups: Ints | None = None
    files: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Bytes:
        """The images (n, height, width, channels), copied."""
        return self.pixels[self.rows]

    def take(self, rows: Ints) -> "Samples":
        """Those at these places among the n."""
        return Samples(
            pixels=self.pixels,
            rows=self.rows[rows],
            labels=self.labels[rows],
            digests=self.digests[rows],
            groups=None if self.groups is None else self.groups[rows],
            files=None if self.files is None else [self.files[int(row)] for row in rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Data that every check has passed, with the names of their classes."""

    name: str
    train: Samples
    val: Samples | None
    test: Samples | None
    classes: tuple[str, ...]
    size: tuple[int, int] | None
    notes: tuple[str, ...]

    @property
    def numbered(self) -> bool:
        """Whether their classes have numbers alone for names."""
        return self.classes == numbers_as_names(len(self.classes))

    def splits(self) -> dict[str, Samples]:
        """Those that there are, by name."""
        found = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in found.items() if split is not None}

    def with_notes(self, *notes: str) -> "Checked":
        """The same with more to say."""
        return replace(self, notes=(*self.notes, *notes))


def numbers_as_names(classes: int) -> tuple[str, ...]:
    """What classes are called that nobody named."""
    return tuple(str(label) for label in range(classes))


def channels_first(images: Bytes) -> Bytes:
    """Images (n, height, width, channels) as networks take them, (n, channels, height, width)."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def image_digests(images: Bytes) -> Bytes:
    """The BLAKE2b digest of each image's bytes (n, 32). Several cores share the work."""
    digests = np.empty((len(images), _DIGEST), np.uint8)
    if len(images) == 0:
        return digests
    many = max(1, _BLOCK // max(1, images[0].nbytes))

    def work(first: int) -> None:
        for row in range(first, min(first + many, len(images))):
            found = hashlib.blake2b(np.ascontiguousarray(images[row]).data, digest_size=_DIGEST).digest()
            digests[row] = np.frombuffer(found, np.uint8)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(work, range(0, len(images), many)))
    return digests


def samples_sha256(splits: Sequence[Samples]) -> str:
    """A digest of all images and labels, in order, in hex."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(str(split.pixels.shape[1:]).encode())
        digest.update(np.ascontiguousarray(split.digests).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
