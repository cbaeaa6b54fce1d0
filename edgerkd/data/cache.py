"""Images that were decoded once, in files that are mapped into memory and not loaded: `~/.cache/edgerkd/data`."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated

import numpy as np

from edgerkd.core.errors import ArtefactError, StorageError
from edgerkd.core.ranges import Amount, Length, Sha256
from edgerkd.core.record import Record
from edgerkd.core.units import format_size
from edgerkd.data.samples import Bytes, image_digests
from edgerkd.files.atomic import folder_atomic, locked, reserve, write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.paths import check_file, own_folder

Say = Callable[[str], None]

RECORD, PIXELS = "record.json", "pixels.bin"


Shape = tuple[int, int, int, int]
"""(n, height, width, channels)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord(Record):
    """record.json: what the file of pixels holds. `sha256` is of its images' digests, in order.

    `bad` are the places of pictures that were asked for and could not be used: they have no row.
    """

    SCHEMA = 1

    shape: Annotated[tuple[Amount, ...], Length(4, 4)]
    sha256: Sha256
    bad: tuple[Amount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedImages:
    """`pixels` uint8 (n, height, width, channels), mapped; `digests` (n, 32); `bad` as in the record."""

    pixels: Bytes
    digests: Bytes
    bad: tuple[int, ...]


def data_cache() -> Path:
    """The folder `data` in EDGERKD_CACHE, else in `~/.cache/edgerkd`."""
    return own_folder("EDGERKD_CACHE", "~/.cache/edgerkd") / "data"


def identity(file: Path) -> tuple[int, ...]:
    """Numbers that another file, or another content, does not have: its place on the disk, size and times.

    The time of the last change of any kind is among them, for no program can set it back.
    """
    stat = file.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def key_of(facts: dict[str, object]) -> str:
    """The name of what these facts decide."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def cached(key: str, shape: Shape, fill: Callable[[Bytes], list[int]], *, say: Say) -> CachedImages:
    """Images of this shape from the cache, made by `fill` where they are not there.

    `fill` writes rows and returns the places of those it could not: these are closed up. Each image's digest is taken
    whenever the file is opened; a damaged file is made anew. Raises StorageError where there is no room for it.
    """
    folder = data_cache() / key
    with locked(
        folder.with_name(f".{key}.lock"), lambda: say("Another process is decoding these images: waiting for it.")
    ):
        found = _earlier(folder, shape, say)
        if found is not None:
            return found
        _check_room(folder, prod(shape))
        say(f"Decoded images are kept in {folder} ({format_size(prod(shape))}); it may be removed at any time.")
        with folder_atomic(folder) as new:
            reserve(new / PIXELS, prod(shape))
            pixels = np.memmap(new / PIXELS, np.uint8, "r+", shape=shape)
            bad = tuple(fill(pixels))
            n = _close_up(pixels, bad)
            pixels.flush()
            del pixels
            os.truncate(new / PIXELS, n * prod(shape[1:]))
            digests = image_digests(_mapped(new / PIXELS, (n, *shape[1:])))
            record = CacheRecord(shape=(n, *shape[1:]), sha256=hashlib.sha256(digests.data).hexdigest(), bad=bad)
            write_atomic(new / RECORD, encode_json(record))
    return CachedImages(pixels=_mapped(folder / PIXELS, (n, *shape[1:])), digests=digests, bad=bad)


def _earlier(folder: Path, shape: Shape, say: Say) -> CachedImages | None:
    if not (folder / RECORD).exists():
        return None
    try:
        record = decode_json(CacheRecord, folder / RECORD)
        check_file(folder / PIXELS, error=ArtefactError)
        kept = (shape[0] - len(record.bad), *shape[1:])
        if record.shape == kept and (folder / PIXELS).stat().st_size == prod(kept):
            pixels = _mapped(folder / PIXELS, kept)
            digests = image_digests(pixels)
            if hashlib.sha256(digests.data).hexdigest() == record.sha256:
                return CachedImages(pixels=pixels, digests=digests, bad=record.bad)
    except ArtefactError:
        pass
    say(f"{folder} is damaged: its images are decoded again.")
    return None


def _close_up(pixels: Bytes, bad: tuple[int, ...]) -> int:
    """Move the rows that are not bad together; how many there are."""
    good = np.setdiff1d(np.arange(len(pixels)), bad)
    for place, row in enumerate(good):
        if place != row:
            pixels[place] = pixels[row]
    return len(good)


def _mapped(path: Path, shape: Shape) -> Bytes:
    """The file as an array, read when looked at. Copied on write, so that torch takes it; nobody writes."""
    return np.memmap(path, np.uint8, "c", shape=shape) if prod(shape) else np.empty(shape, np.uint8)


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if size > free:
        raise StorageError(
            f"{folder.parent}: decoded images need {format_size(size)} and {format_size(free)} are free: free some "
            "space, name another folder by EDGERKD_CACHE, or take a smaller --size."
        )
