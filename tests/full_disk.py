"""A disk that is full when one file is written, and not before."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgerkd.files import atomic


@contextmanager
def full_at(name: str | None) -> Iterator[list[str]]:
    """No space is left where a file of that `name` is to be written; gives the names of all files that were begun."""
    begun: list[str] = []
    handles: dict[int, str] = {}
    new_file, fsync = atomic._new_file, os.fsync

    def noted(path: Path) -> tuple[int, Path]:
        handle, new = new_file(path)
        handles[handle] = path.name
        begun.append(path.name)
        return handle, new

    def refused(handle: int) -> None:
        if handles.get(handle) == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "_new_file", noted)
        patch.setattr(os, "fsync", refused)
        yield begun


def litter(folder: Path) -> list[str]:
    """What an unfinished write has left below a folder."""
    return sorted(str(path) for path in folder.rglob("*.part"))
