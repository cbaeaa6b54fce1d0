"""Images that are made or read when they are asked for: those of a large bundle are more than a device has room for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ArtefactError
from edgerkd.files.paths import open_file, shown

Read = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""The images (n, c, h, w) of these rows."""


class ImageRows:
    """Images float32 (n, c, h, w), an array by name: whatever is taken of it is one in memory.

    Attacks ask for a chunk at a time, by slices or by rows.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, read: Read, rows: NDArray[np.int64], image_shape: tuple[int, ...]) -> None:
        """Of what `read` gives these `rows`."""
        self._read, self._rows = read, rows
        self.shape = (len(rows), *image_shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:  # Any: whatever NumPy takes for the first axis
        chosen = self._rows[rows]
        return self._read(chosen) if np.ndim(chosen) else self._read(chosen[None])[0]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # Any: NumPy's own types
        return np.asarray(self._read(self._rows), dtype)

    @property
    def device(self) -> Any:  # Any: NumPy 1 has no type for it
        return "cpu"

    def take(self, rows: NDArray[np.int64]) -> "ImageRows":
        """These rows alone, still not in memory."""
        return ImageRows(self._read, self._rows[rows], self.shape[1:])


def rows_of(images: Any, rows: NDArray[np.int64]) -> Any:  # Any: of an array an array, of ImageRows the same
    """These rows of images, where they are."""
    return images.take(rows) if isinstance(images, ImageRows) else images[rows]


def in_batches(images: NDArray[np.float32] | ImageRows, size: int) -> Iterator[NDArray[np.float32]]:
    """All images, so many at a time."""
    return (images[first : first + size] for first in range(0, len(images), size))


def rows_of_pixels(pixels: NDArray[np.uint8]) -> ImageRows:
    """In [0, 1], of pixels (n, c, h, w)."""
    return ImageRows(
        lambda rows: np.divide(pixels[rows], 255, dtype=np.float32), np.arange(len(pixels)), pixels.shape[1:]
    )


def rows_of_file(path: Path, begin: int, shape: tuple[int, ...]) -> ImageRows:
    """Images float32 of this shape that lie in a file from `begin` on, row after row.

    Taking some raises ArtefactError where the file is not what it was.
    """
    image_shape, before = shape[1:], _mark(path)
    length = int(np.prod(image_shape, dtype=np.int64)) * np.dtype(np.float32).itemsize

    def read(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = np.empty((len(rows), *image_shape), np.float32)
        with open_file(path, error=ArtefactError) as file:
            for place, row in enumerate(rows.tolist()):
                file.seek(begin + row * length)
                content = file.read(length)
                if len(content) != length or _mark(path) != before:
                    raise ArtefactError(f"{shown(path)}: it was changed while it was read: run the command again.")
                found[place].flat = np.frombuffer(content, np.float32)
        return found

    return ImageRows(read, np.arange(shape[0]), image_shape)


def _mark(path: Path) -> tuple[int, ...]:
    """What is another number for another file, or for one that was written to."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
