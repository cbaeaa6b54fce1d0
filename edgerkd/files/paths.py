"""The one door for paths that a person gave, or that stand in a file: what may be opened, and how it is opened.

Only regular files are opened, up to a size. Every failure names the path and says what to do.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgerkd.core.errors import ConfigError, EdgerkdError, StorageError
from edgerkd.core.text import odd_characters, printable
from edgerkd.core.units import format_size

TEXT_LIMIT = 64 << 20
"""Bytes of a JSON or TOML file. Ours: the largest that edgerkd writes has 2 MB."""
GRAPH_LIMIT = (1 << 31) - 1
"""Bytes of an ONNX graph: what a protobuf message can hold. Source: protobuf.dev, "Proto limits"."""
FILE_LIMIT = 1 << 40
"""Bytes of any other file: beyond it sizes are damage. Ours."""

MakeError = Callable[[str], EdgerkdError]

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISREG, "a file"),
)
_DENIED = (errno.EACCES, errno.EPERM)
_REASONS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file: a part of the path is a file, not a folder",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.ENXIO: "it is a socket, not a file",
}


def shown(path: Path | str) -> str:
    """A path as it can be shown."""
    return printable(str(path), 1000)


def given_path(text: str | Path) -> Path:
    """The path that a person wrote, `~` resolved. Raises ConfigError for one that is no text."""
    name = str(text)
    if not name.strip() or odd_characters(name):
        reason = "is empty" if not name.strip() else "contains characters that are not text"
        raise ConfigError(f"The path {shown(name)!r} {reason}: write the name of a file or folder.")
    try:
        return Path(name).expanduser()
    except RuntimeError as e:  # ~somebody who is not there
        raise ConfigError(f"{shown(name)}: there is no such user here.") from e


def result_folder(text: str | Path, flag: str) -> Path:
    """The folder that `flag` names for a result, which may take its place whole.

    Raises ConfigError as `given_path` does, and for one without a name of its own, such as `.` or `/`.
    """
    path = given_path(text)
    if path.name in ("", ".."):
        raise ConfigError(f"{flag}: {shown(path)}: write the name of a new folder, such as {shown(path / 'result')}.")
    return path


def own_folder(variable: str, default: str) -> Path:
    """The folder that an environment variable names, or where it is not set, or empty, `default`.

    Raises ConfigError where it cannot be a folder's name.
    """
    try:
        return given_path(os.environ.get(variable) or default)
    except ConfigError as e:
        raise ConfigError(f"{variable}: {e} Set it to a folder for edgerkd's own files.") from e


def find_kind(path: Path, *, error: MakeError = ConfigError) -> str | None:
    """`a file`, `a folder` or what else is there, links followed; None where nothing is.

    Raises StorageError where it may not be looked at, and `error` for a path that leads nowhere by its form.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        raise unreadable(path, e, error) from e
    return kind_of(mode)


def kind_of(mode: int) -> str:
    """What st_mode says that something is."""
    return next((name for test, name in _KINDS if test(mode)), "neither a file nor a folder")


def unreadable(path: Path | str, e: Exception, error: MakeError = ConfigError) -> EdgerkdError:
    """What to raise where opening or reading `path` failed."""
    number = e.errno if isinstance(e, OSError) else None
    if number in _DENIED:
        return StorageError(f"{shown(path)}: this may not be read here. Change its permissions, or run as its owner.")
    reason = _REASONS.get(number or 0) or (e.strerror if isinstance(e, OSError) else None) or "this is not a path"
    return error(f"{shown(path)}: cannot be read: {reason}.")


def open_file(path: Path, *, limit: int = FILE_LIMIT, error: MakeError = ConfigError) -> BinaryIO:
    """A regular file of at most `limit` bytes, open for reading.

    It is opened without waiting, so that a pipe nobody writes to is refused at once. Raises `error` for what is no
    such file, StorageError where it may not be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as e:
        raise unreadable(path, e, error) from e
    file = os.fdopen(handle, "rb", closefd=True) if stat.S_ISREG(os.fstat(handle).st_mode) else None
    if file is None:
        mode = os.fstat(handle).st_mode
        os.close(handle)
        raise error(f"{shown(path)}: this is {kind_of(mode)}, and a file is expected.")
    size = os.fstat(handle).st_size
    if size > limit:
        file.close()
        raise error(f"{shown(path)}: {format_size(size)} large, and at most {format_size(limit)} are expected.")
    return file


def read_file(path: Path, *, limit: int = FILE_LIMIT, error: MakeError = ConfigError) -> bytes:
    """All bytes of a regular file. Raises as `open_file` does."""
    with open_file(path, limit=limit, error=error) as file:
        try:
            return file.read()
        except (OSError, MemoryError) as e:
            raise unreadable(path, e, error) from e


def check_file(path: Path, *, limit: int = FILE_LIMIT, error: MakeError = ConfigError) -> None:
    """Raises as `open_file` does, for a path that a foreign library will open."""
    open_file(path, limit=limit, error=error).close()


def check_folder(path: Path, *, error: MakeError = ConfigError) -> None:
    """Raises `error` where there is no such folder, StorageError where it may not be read."""
    kind = find_kind(path, error=error)
    if kind is None:
        raise error(f"{shown(path)}: there is no such folder.")
    if kind != "a folder":
        raise error(f"{shown(path)}: this is {kind}, and a folder is expected.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise unreadable(path, PermissionError(errno.EACCES, ""), error)
