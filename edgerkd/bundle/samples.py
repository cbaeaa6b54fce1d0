"""The images a bundle is verified on, with the adversarial versions that the host found, and reference logits."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.image_rows import ImageRows, rows_of, rows_of_file, rows_of_pixels
from edgerkd.core.errors import ArtefactError, ConfigError, problems_text
from edgerkd.core.units import format_size
from edgerkd.core.variant import PARITY
from edgerkd.files.arrays import Archive, Header, open_arrays
from edgerkd.files.paths import shown

MOST = 20_000
"""Images of a bundle, each of which is compared with all others (verify/distinct.py). Ours: 40 times what export takes,
and twice the test images of CIFAR-10."""
LIMIT = 3 << 29
"""Bytes of all arrays of samples, with four a value at least, for pixels become float32. Ours: 500 colour images of
224 x 224 pixels with adversarial ones made against the model and three other networks are 1.4 GiB."""
HELD = 3 << 27
"""Bytes of the images alone, as float32: of all that are judged `verify` holds an adversarial version. Ours: 500 of
224 x 224 pixels are 287 MiB, 20,000 of 32 x 32 pixels 234 MiB."""
PACKED = 1 << 26
"""Bytes of all arrays that are packed, or not row after row: these are read whole. Ours: edgerkd packs none."""
_FEWER = "make the bundle anew with fewer images (--images)."
MOST_TRANSFERS = 64
"""Other networks whose adversarial images a bundle may hold. Ours."""
_SMALL = 1 << 24  # bytes of images that are read whole in any case; ours
LOGITS_LIMIT = 1 << 28
"""Bytes of all logits of a reference. Ours: 20,000 images, clean and adversarial, in 1,000 classes have 153 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSamples:
    """`pixels` uint8 and `images_adv` float32 (n, c, h, w), the latter in [0, 1]; `labels` int64 (n,).

    `host_robust` (n,) says which images the host's model got right under every attack of the host. Both are None where
    the host attacked nothing. `transfers` float32 (k, n, c, h, w) are adversarial versions made against k other
    networks, which the manifest names. Float32 images of a bundle stay in its file until some are asked for.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    images_adv: NDArray[np.float32] | ImageRows | None = None
    host_robust: NDArray[np.bool_] | None = None
    transfers: NDArray[np.float32] | tuple[ImageRows, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "StoredSamples":
        """These rows alone."""
        return _taken(self, rows)

    @property
    def images(self) -> NDArray[np.float32]:
        """The images (n, c, h, w) in [0, 1]."""
        return np.divide(self.pixels, 255, dtype=np.float32)

    @property
    def floats(self) -> ImageRows:
        """The same, made when some are asked for."""
        return rows_of_pixels(self.pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The logits float32 (n, k) that a variant was measured to give, for clean images and for adversarial ones."""

    logits: NDArray[np.float32]
    logits_adv: NDArray[np.float32] | None = None

    def take(self, rows: NDArray[np.int64]) -> "Reference":
        """These rows alone."""
        return _taken(self, rows)


A = TypeVar("A", StoredSamples, Reference)


def _taken(arrays: A, rows: NDArray[np.int64]) -> A:
    found = _present(arrays)
    n = len(next(iter(found.values())))
    if len(rows) == n and (rows == np.arange(n)).all():
        return arrays  # all of them, which may be a gigabyte, are not copied
    return replace(arrays, **{name: _rows_of(name, array, rows) for name, array in found.items()})


def _rows_of(name: str, array: Any, rows: NDArray[np.int64]) -> Any:  # Any: of an array, the same kind
    if name != "transfers":
        return rows_of(array, rows)
    return (
        tuple(each.take(rows) for each in cast("tuple[ImageRows, ...]", array))
        if isinstance(array, tuple)
        else array[:, rows]
    )


def _present(arrays: StoredSamples | Reference) -> dict[str, Any]:  # Any: arrays, which savez takes by any name
    """The arrays there are, by name; the first has a row an image."""
    found = {field.name: getattr(arrays, field.name) for field in fields(arrays)}
    return {name: array for name, array in found.items() if array is not None}


_TYPES: dict[str, Any] = {  # Any: NumPy scalar types have no common public type
    "pixels": np.uint8,
    "images_adv": np.float32,
    "labels": np.int64,
    "host_robust": np.bool_,
    "transfers": np.float32,
    "logits": np.float32,
    "logits_adv": np.float32,
}


def arrays_bytes(arrays: StoredSamples | Reference) -> bytes:
    """What there is as an uncompressed .npz file. Raises ConfigError for more than would be read back."""
    found: dict[str, Any] = {name: np.asarray(array) for name, array in _present(arrays).items()}  # as in _present
    limit = LIMIT if isinstance(arrays, StoredSamples) else LOGITS_LIMIT
    problem = _excess([(array.shape, array.dtype.itemsize) for array in found.values()], limit)
    if problem := problem or (_unheld(arrays.pixels.shape) if isinstance(arrays, StoredSamples) else None):
        raise ConfigError(
            f"A bundle cannot hold these samples: {problem}: take fewer images with --images, or fewer other networks "
            "with --transfer-from."
        )
    buffer, save = io.BytesIO(), cast("Any", np.savez)  # whose own flags are typed as if they could be among these
    save(buffer, **{name: np.asarray(array, order="C") for name, array in found.items()})
    return buffer.getvalue()


def read_samples(path: Path) -> StoredSamples:
    """Raises ArtefactError for a file that holds no samples, too many, or arrays of wrong type, length or range."""
    with open_arrays(path) as archive:
        headers = _headers(archive, ("pixels", "labels"), ("images_adv", "host_robust", "transfers"), LIMIT, path)
        _check_held(archive, headers, path)
        labels, pixels = headers["labels"].shape, headers["pixels"].shape
        n = labels[0] if len(labels) == 1 else 0
        shape, k = (n, *pixels[1:]), headers["transfers"].shape[:1] if "transfers" in headers else ()
        shapes = {"pixels": shape, "labels": (n,), "images_adv": shape, "host_robust": (n,), "transfers": (*k, *shape)}
        problems = _misfits(headers, n, shapes)
        if max(k, default=0) > MOST_TRANSFERS:
            problems.append(f"there are images of {max(k):,} other networks, and at most {MOST_TRANSFERS} are allowed")
        if not problems and len(pixels) != 4:
            problems.append(f"pixels are {pixels}: expected (n, c, h, w)")
        if not problems and ("images_adv" in headers) is not ("host_robust" in headers):
            problems.append("images_adv and host_robust go together, and one is missing")
        problems = problems or [problem for name in headers for problem in _values(archive, name, headers[name])]
        if problems:
            raise ArtefactError(problems_text(path, problems))
        return StoredSamples(**{name: _array(archive, name, headers[name], path) for name in headers})


def _check_held(archive: Archive, headers: Mapping[str, Header], path: Path) -> None:
    """Raises ArtefactError for images, or packed arrays, that take more memory than there may be."""
    if problem := _unheld(headers["pixels"].shape):
        raise ArtefactError(f"{shown(path)}: {problem}: {_FEWER}")
    _check_packed(archive, headers, path)


def _check_packed(archive: Archive, headers: Mapping[str, Header], path: Path) -> None:
    packed = sum(header.nbytes for name, header in headers.items() if archive.place(name) is None)
    if packed > PACKED:
        problem = f"{format_size(packed)} of arrays are packed, and at most {format_size(PACKED)} may be"
        raise ArtefactError(f"{shown(path)}: {problem}: make the bundle anew, edgerkd packs none.")


def _unheld(shape: tuple[int, ...]) -> str | None:
    """How images of this shape are too large to hold as many adversarial ones."""
    held = 4 * math.prod(shape)
    if held <= HELD:
        return None
    return f"the images take {format_size(held)} as float32, and at most {format_size(HELD)} are allowed"


def _values(archive: Archive, name: str, header: Header) -> Iterator[str]:
    """What an array's values cannot be; they are not kept."""
    if header.dtype.kind not in "fi" or header.nbytes == 0:
        for _ in archive.blocks(name):  # for its checksum
            pass
        return
    low, high = math.inf, -math.inf
    for block in archive.blocks(name):
        if not np.isfinite(block).all():
            yield f"{name} holds NaN or infinite values"
            return
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    if header.dtype.kind == "f" and (low < 0 or high > 1):
        yield f"{name} must be within [0, 1]"
    if name == "labels" and low < 0:
        yield f"labels begin at {low:.0f}: there are no such classes"


def _array(archive: Archive, name: str, header: Header, path: Path) -> Any:  # Any: an array, or what stands for one
    """The array, or for many float32 images what reads some of them."""
    place = archive.place(name)
    if header.dtype.kind != "f" or header.nbytes <= _SMALL or place is None:
        return archive.read(name, limit=LIMIT)
    shape, one = header.shape[-4:], math.prod(header.shape[-4:]) * header.dtype.itemsize
    parts = header.nbytes // one if one else 0
    found = tuple(rows_of_file(path, place + part * one, shape) for part in range(parts))
    return found if name == "transfers" else found[0]


def read_reference(path: Path) -> Reference:
    """Raises ArtefactError for a file that holds no logits, too many, or some of wrong type or not finite."""
    with open_arrays(path) as archive:
        headers = _headers(archive, ("logits",), ("logits_adv",), LOGITS_LIMIT, path)
        _check_packed(archive, headers, path)
        shape = headers["logits"].shape
        problems = _misfits(headers, shape[0] if len(shape) == 2 else 0, dict.fromkeys(headers, shape))
        found = {} if problems else {name: archive.read(name, limit=LOGITS_LIMIT) for name in headers}
    problems += [
        f"{name} holds NaN or infinite values" for name, array in found.items() if not np.isfinite(array).all()
    ]
    if problems:
        raise ArtefactError(problems_text(path, problems))
    return Reference(**found)


def fit_problems(
    samples: StoredSamples, reference: Reference, image_shape: tuple[int, ...], classes: int, *, host: bool
) -> list[str]:
    """What does not go together among samples, reference and model.

    `host`: the reference is of the float32 model that the host attacked. A rounded one may lose some of what it held.
    """
    found: list[str] = []
    if samples.pixels.shape[1:] != tuple(image_shape):
        found.append(f"images are {samples.pixels.shape[1:]}, the model takes {tuple(image_shape)}")
    if reference.logits.shape != (len(samples), classes):
        found.append(f"reference logits are {reference.logits.shape}, expected {(len(samples), classes)}")
    if samples.labels.max() >= classes:
        found.append(f"labels reach {samples.labels.max()}, the model has {classes} classes: there are no such classes")
    if (samples.images_adv is None) is not (reference.logits_adv is None):
        found.append("adversarial images and reference logits for them go together, and one is missing")
    if host and not found and samples.host_robust is not None and reference.logits_adv is not None:
        found += _held_problems(samples.host_robust, samples.labels, reference.logits, reference.logits_adv)
    return found


def _held_problems(
    held: NDArray[np.bool_], labels: NDArray[np.int64], logits: NDArray[np.float32], logits_adv: NDArray[np.float32]
) -> list[str]:
    """Where what the host held is not what its logits say.

    It held what it answers right, clean and adversarial: an adversarial image fools it wherever one was found that
    does. Only a margin counts that no other order of summation turns, above the limit of parity. That is taken of the
    median spread of an image's logits, which an offset or one huge logit does not widen.
    """
    clean, adv = logits.argmax(1) == labels, logits_adv.argmax(1) == labels
    ordered = np.sort(logits_adv.astype(np.float64), axis=1)  # where no difference of two logits overflows
    limit = PARITY["fp32"].logit_share * float(np.median(np.ptp(logits.astype(np.float64), axis=1)))
    clear = ordered[:, -1] - ordered[:, -2] > 2 * limit
    wrong, left_out = held & ~(clean & (adv | ~clear)), ~held & clean & adv & clear
    found = {"names images that the reference logits answer wrong": wrong, "leaves out images that they hold": left_out}
    return [f"host_robust {what}: {int(rows.sum())} of {len(held)}" for what, rows in found.items() if rows.any()]


def _headers(
    archive: Archive, needed: tuple[str, ...], optional: tuple[str, ...], limit: int, path: Path
) -> dict[str, Header]:
    """Of the arrays of these names, the first with a row an image. Raises ArtefactError for too many, or too large."""
    names = (*needed, *(name for name in optional if name in archive.names))
    headers = {name: archive.header(name) for name in names}
    if problem := _excess([(header.shape, header.dtype.itemsize) for header in headers.values()], limit):
        raise ArtefactError(f"{shown(path)}: {problem}: {_FEWER}")
    return headers


def _excess(sizes: Sequence[tuple[tuple[int, ...], int]], limit: int) -> str | None:
    """How arrays of these shapes and bytes a value, the first with a row an image, are too many or too large."""
    first, _ = sizes[0]
    if first and first[0] > MOST:
        return f"there are {first[0]:,} images, and at most {MOST:,} are allowed"
    needed = sum(math.prod(shape) * max(4, size) for shape, size in sizes)
    if needed > limit:
        return f"the arrays take {format_size(needed)} as float32, and at most {format_size(limit)} are allowed"
    return None


def _misfits(headers: Mapping[str, Header], n: int, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Arrays of a wrong type or shape."""
    return [
        f"{name} is {header.dtype} {header.shape}: expected {_TYPES[name].__name__} {shapes[name]}"
        for name, header in headers.items()
        if n == 0 or header.dtype != _TYPES[name] or header.shape != shapes[name]
    ]
