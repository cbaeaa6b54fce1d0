"""Writes that either happen whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgerkd.core.errors import StorageError


def write_atomic(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content`; on any failure the old file stays as it was.

    Raises StorageError where it cannot be written (disk full, no permission).
    """
    data = content.encode() if isinstance(content, str) else content
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        new = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.chmod(0o644)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `path` on leaving, and vanishes if leaving by an exception.

    An old folder at `path` stays untouched until the new one is complete. Raises StorageError as
    `write_atomic` does.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    old = None
    try:
        yield new
        with storage(path):
            new.chmod(0o755)
            if path.exists():
                old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-"))
                path.replace(old / "old")
            new.replace(path)
    except BaseException:
        if old is not None and not path.exists() and (old / "old").exists():
            (old / "old").replace(path)
        shutil.rmtree(new, ignore_errors=True)
        raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise StorageError(
            f"{path}: cannot be written: {e.strerror}; what was there before is intact: "
            "free some space or choose another folder"
        ) from e


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
