"""Arrays from .npz files: their sizes are known before anything is read, and nothing in them is ever executed."""

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ArtefactError, EdgerkdError
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.core.units import format_size
from edgerkd.files.damage import DAMAGE
from edgerkd.files.paths import MakeError, open_file, shown

AnyArray = NDArray[Any]  # Any: whatever type the file says

_LONGEST_HEADER = 1 << 16  # bytes; the header of an array of numbers has about 128
_BLOCK = 16 << 20
_LENGTHS_AT = 26
"""In a member's local header, where the lengths of its name and of what follows that stand, two bytes each. Source:
PKWARE's APPNOTE.TXT, 4.3.7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an array says of itself before it is read."""

    shape: tuple[int, ...]
    dtype: Any  # np.dtype of any kind
    fortran: bool

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open .npz file."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, error: MakeError) -> None:
        self._path, self._archive, self._error = path, archive, error
        self.names = tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))

    def header(self, name: str) -> Header:
        """Raises the archive's error for an array that is damaged, holds objects, or says more than it has."""
        with self._reading(name), self._archive.open(f"{name}.npy") as member:
            found = _header(member)
            size = self._archive.getinfo(f"{name}.npy").file_size - member.tell()
        if found.dtype.hasobject:
            raise self._error(
                f"{shown(self._path)}: {name} holds Python objects, which are never loaded: save an array of numbers."
            )
        if found.nbytes != size:
            raise self._error(f"{shown(self._path)}: {name} should have {found.nbytes} bytes and has {size}.")
        return found

    def read(
        self,
        name: str,
        *,
        limit: int,
        make: Callable[[Header], AnyArray] = lambda h: np.empty(h.shape, h.dtype),
    ) -> AnyArray:
        """The array, in memory that `make` gives. Raises as `header` does, and for more than `limit` bytes."""
        header = self.header(name)
        if header.nbytes > limit:
            raise self._error(
                f"{shown(self._path)}: {name} is {format_size(header.nbytes)} large, and at most {format_size(limit)} "
                "are expected."
            )
        with self._reading(name), self._archive.open(f"{name}.npy") as member:
            _header(member)
            if header.fortran or header.nbytes == 0:
                flat = np.frombuffer(member.read(header.nbytes), header.dtype)
                return flat.reshape(header.shape, order="F" if header.fortran else "C").copy()
            array = make(header)
            view = array.reshape(-1).data.cast("B")
            for first in range(0, header.nbytes, _BLOCK):
                block = view[first : first + _BLOCK]
                if _fill(member, block) != len(block):
                    raise EOFError("it ends too early")
            member.read(1)  # past the end: the archive checks its CRC-32 there
            return array

    def place(self, name: str) -> int | None:
        """Where in the file the array's bytes begin, row after row; None where they are packed or in another order.

        Raises as `header` does.
        """
        header, info = self.header(name), self._archive.getinfo(f"{name}.npy")
        if header.fortran or info.compress_type != zipfile.ZIP_STORED:
            return None
        with self._reading(name), self._archive.open(f"{name}.npy") as member:
            _header(member)
            ahead = member.tell()
            with open_file(self._path, error=self._error) as file:
                file.seek(info.header_offset + _LENGTHS_AT)
                named, more = (int.from_bytes(file.read(2), "little") for _ in range(2))
        return info.header_offset + _LENGTHS_AT + 4 + named + more + ahead

    def blocks(self, name: str) -> Iterator[AnyArray]:
        """All values in a row, as much at a time as there is room for. Raises as `read` does."""
        header = self.header(name)
        with self._reading(name), self._archive.open(f"{name}.npy") as member:
            _header(member)
            step = _BLOCK // header.dtype.itemsize * header.dtype.itemsize
            for first in range(0, header.nbytes, step):
                content = bytearray(min(step, header.nbytes - first))
                if _fill(member, memoryview(content)) != len(content):
                    raise EOFError("it ends too early")
                yield np.frombuffer(content, header.dtype)
            member.read(1)  # as in `read`

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        if name not in self.names:
            known = ", ".join(printable(known, 40) for known in self.names[:8])
            raise self._error(f"{shown(self._path)}: there is no array named {name}: it has {known or 'none'}.")
        try:
            yield
        except EdgerkdError:
            raise
        except DAMAGE as e:
            raise self._error(f"{shown(self._path)}: {name} is damaged: {_reason(e)}.") from e


@contextmanager
def open_arrays(path: Path, *, error: MakeError = ArtefactError) -> Iterator[Archive]:
    """An .npz file, open. Raises `error` for a file that is none, StorageError where it may not be read."""
    with open_file(path, error=error) as file:
        try:
            archive = zipfile.ZipFile(file)
        except DAMAGE as e:
            raise error(f"{shown(path)}: not a readable .npz file: {_reason(e)}. Write it again with np.savez.") from e
        with archive:
            yield Archive(path, archive, error)


def read_arrays(
    path: Path, names: Sequence[str], *, limit: int, error: MakeError = ArtefactError
) -> dict[str, AnyArray]:
    """The arrays of these names, `limit` bytes at most each. Raises as `open_arrays` and `Archive.read` do."""
    with open_arrays(path, error=error) as archive:
        return {name: archive.read(name, limit=limit) for name in names}


def _header(member: IO[bytes]) -> Header:
    """The header at the member's beginning, which is then behind us. Raises what DAMAGE lists."""
    formats = np.lib.format
    version = formats.read_magic(member)
    read: dict[tuple[int, int], Any] = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"an .npy header of version {version[0]}.{version[1]} is not a plain array's")
    start = member.tell()
    length = int.from_bytes(member.read(2 if version == (1, 0) else 4), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length} bytes")
    member.seek(start)
    shape, fortran, dtype = read[version](member)
    if any(side < 0 for side in shape):
        raise ValueError(f"its shape is {shape}")
    return Header(shape=shape, dtype=dtype, fortran=fortran)


def _fill(member: IO[bytes], block: memoryview) -> int:
    """Read into `block` as much as there is."""
    done = 0
    while done < len(block) and (part := member.read(len(block) - done)):
        block[done : done + len(part)] = part
        done += len(part)
    return done


def _reason(e: Exception) -> str:
    """A foreign library's first sentence. What NumPy advises, to load it unsafely, is never passed on."""
    said = printable(str(e).partition("\n")[0], LONGEST_NAME).rstrip(".") or type(e).__name__
    return "it is not plain data" if "allow_pickle" in said or "unsafe" in said else said
