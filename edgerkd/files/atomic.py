"""Writes that either happen whole or not at all, and leave nothing behind.

What is being written lies beside its place under a temporary name, and is locked for as long as its writer lives. A
killed writer's lock is gone with it: the next write to the same place removes what it left. A writer that was not quick
enough with its lock finds that its file is gone, and begins again.
"""

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from edgerkd.core.errors import ConfigError, StorageError
from edgerkd.files.paths import MakeError, kind_of, open_file, shown

CLAIM = ".claim"
_FIXES = {
    errno.EEXIST: "choose another name",
    errno.EISDIR: "choose another name",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}
_SUFFIX = ".edgerkd.part"  # no name of a person's own: what has it is swept
_TEMPORARY = re.compile(rf"\A\.(.+)-[a-z0-9_]{{8}}{re.escape(_SUFFIX)}\Z")  # as `tempfile` makes them


def write_atomic(path: Path, content: bytes | str, *, mode: int = 0o644) -> None:
    """Replace `path` by `content`, with the permissions `mode`; on any failure the old file stays as it was.

    Raises StorageError where it cannot be written (disk full, no permission, a folder of that name).
    """
    write_together({path: content}, mode=mode)


def write_together(files: Mapping[Path, bytes | str], *, mode: int = 0o644) -> None:
    """Replace several files once there is room for all; on any failure to write one, all old files stay as they were.

    The first of them is never seen beside an old one of the others: those are removed before it takes its place.
    Raises StorageError as `write_atomic` does.
    """
    with ExitStack() as begun:
        placed: dict[Path, Path] = {}
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            with storage(path):
                place = _place(path)
                placed[place] = begun.enter_context(_written(place, data, mode))
        _, *others = placed
        for path in others:
            path.unlink(missing_ok=True)
        for path, new in placed.items():
            with storage(path):
                new.replace(path)


@contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A new file beside `path` that holds the data, locked until it is left, and gone then where it is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    handle, new = _begin(path, _new_file)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            new.chmod(mode)
            yield new
    finally:
        new.unlink(missing_ok=True)


def _place(path: Path) -> Path:
    """Where a file of that name is: links are followed. Raises OSError for what must not be replaced by a file."""
    try:
        kind = kind_of(path.stat().st_mode)
    except FileNotFoundError:
        return path
    if kind != "a file":
        raise OSError(errno.EEXIST, f"there is {kind} of that name")
    return path.resolve() if path.is_symlink() else path


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `path` on leaving, and vanishes if leaving by an exception.

    An old folder at `path` is exchanged for the new one in one step: at any moment there is the one or the other.
    Raises StorageError as `write_atomic` does.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        recover(path)
        sweep(path)
        lock, new = _begin(path, _new_folder)
    try:
        yield new
        with storage(path):
            new.chmod(0o755)
            if path.exists():
                _exchange(new, path)
            else:
                new.replace(path)
    finally:
        os.close(lock)
        shutil.rmtree(new, ignore_errors=True)  # the old folder now, or a new one that was not finished


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder among the system's temporary files, which is gone on leaving.

    Those that killed processes have left are removed first. Raises StorageError where none can be made.
    """
    with storage(Path(os.environ.get("TMPDIR", "/tmp"))):
        place = Path(tempfile.gettempdir(), "edgerkd")
        sweep(place)
        lock, new = _begin(place, _new_folder)
    try:
        yield new
    finally:
        os.close(lock)
        shutil.rmtree(new, ignore_errors=True)


def reserve(path: Path, size: int) -> None:
    """A file of so many bytes whose room on the disk is taken: a mapped one that finds none later ends the process.

    Raises StorageError where there is none.
    """
    with storage(path), path.open("wb") as file:
        if size and hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(size)


def _exchange(new: Path, old: Path) -> None:
    """Let two folders change places; where that takes several steps, `recover` puts right what a kill left."""
    if _renameat2(new, old):
        return
    aside = _aside(old)
    old.replace(aside)
    new.replace(old)
    aside.replace(new)


def recover(path: Path) -> None:
    """Put back a folder that a kill between two renames left under its other name."""
    aside = _aside(path)
    if aside.is_dir():
        with suppress(OSError):
            shutil.rmtree(aside) if path.exists() else aside.replace(path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.edgerkd.old")


def _renameat2(a: Path, b: Path) -> bool:
    """Exchange two names in one step; False where this system or file system cannot. Source: renameat2(2)."""
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # not Linux, or a C library without it
        return False
    if rename(here, os.fsencode(a), here, os.fsencode(b), exchange) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(b))


def sweep(path: Path) -> None:
    """Remove what killed writers of `path` left beside it."""
    for left in path.parent.glob(f".{_literal(path.name)}-*{_SUFFIX}"):
        with suppress(OSError):
            handle = os.open(left, os.O_RDONLY | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where its writer lives
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            finally:
                os.close(handle)


def _literal(name: str) -> str:
    """A name in which glob sees no pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _begin(path: Path, make: Callable[[Path], tuple[int, Path]]) -> tuple[int, Path]:
    """Something temporary beside `path`, open and locked: it says that its writer lives.

    Where the file system knows no locks, nothing is ever swept.
    """
    while True:
        handle, new = make(path)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)  # waits for a sweep that was quicker
        with suppress(FileNotFoundError):
            if os.path.samestat(new.lstat(), os.fstat(handle)):
                return handle, new
        os.close(handle)


def _new_file(path: Path) -> tuple[int, Path]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=_SUFFIX)
    return handle, Path(name)


def _new_folder(path: Path) -> tuple[int, Path]:
    while True:
        name = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-", suffix=_SUFFIX)
        with suppress(FileNotFoundError):  # swept already
            return os.open(name, os.O_RDONLY), Path(name)


@contextmanager
def claimed_folder(path: Path) -> Iterator[bool]:
    """Whether `path` is ours: a folder that was not there or is empty, and that nobody else has claimed.

    It is ours until this is left; where it is empty even then, it is removed, and so is the folder that was made for
    it. A killed process claims nothing. Raises StorageError where it cannot be made.
    """
    made = not path.parent.exists()

    def taken() -> bool:
        try:
            return any(entry.name != CLAIM for entry in path.iterdir())
        except FileNotFoundError:  # given back by somebody just now
            return True

    with storage(path):
        path.mkdir(parents=True, exist_ok=True)
        if taken():
            yield False
            return
    try:
        with claim(path) as alone:
            yield alone and not taken()
    finally:
        with suppress(OSError):
            path.rmdir()
            if made:
                path.parent.rmdir()


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Whether nobody else works in the folder; then nobody else can, until this is left.

    A killed process claims nothing. Raises StorageError where the folder cannot be written.
    """
    with _claimed(folder / CLAIM) as alone:
        yield alone


@contextmanager
def claimed_place(path: Path) -> Iterator[bool]:
    """Whether nobody else is about to write the folder `path`, which need not be there; nobody can, until this is left.

    A killed process claims nothing. Raises StorageError where nothing can be written beside it.
    """
    made = not path.parent.exists()
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _claimed(path.with_name(f".{path.name}{CLAIM}")) as alone:
            yield alone
    finally:
        if made:
            with suppress(OSError):
                path.parent.rmdir()


@contextmanager
def _claimed(file: Path) -> Iterator[bool]:
    with storage(file):
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    alone = _alone(handle)
    try:
        yield alone
    finally:
        if alone:
            file.unlink(missing_ok=True)
        os.close(handle)


def _alone(handle: int) -> bool:
    """Whether this process is the only one that holds the file."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this file system: then nobody can tell
        return True
    return True


def check_writable(path: Path) -> None:
    """Whether `path` can be written, before any work is done for it; nothing is left there. Raises StorageError."""
    with storage(path):
        path = _place(path)
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        sweep(folder / path.name)
        handle, new = _new_file(folder / path.name)
        os.close(handle)
        new.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """One process at a time: the others say that they are `waiting` until it is done. The lock is the file `path`.

    Raises StorageError where it cannot be made.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with suppress(OSError):  # no locks on this file system: then nobody waits
            if not _alone(handle):
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """What goes wrong while `path` is written, as StorageError."""
    try:
        yield
    except OSError as e:
        fix = _FIXES.get(e.errno or 0, "free some space, or choose another folder")
        raise StorageError(
            f"{shown(_final(path))}: cannot be written: {e.strerror}. What was there before is intact: {fix}."
        ) from e


def _final(path: Path) -> Path:
    """Where a file will be that is written in a folder of a temporary name."""
    return Path(*(_TEMPORARY.sub(r"\1", part) for part in path.parts))


def sha256_of(path: Path, *, error: MakeError = ConfigError) -> str:
    """The SHA-256 of a file, in hex. Raises as `open_file` does."""
    digest = hashlib.sha256()
    with open_file(path, error=error) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
