"""The images a bundle is verified on, with the adversarial versions that the host found, and reference logits."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ArtefactError, ConfigError, problems_text
from edgerkd.core.units import format_size
from edgerkd.core.variant import PARITY
from edgerkd.files.arrays import AnyArray, open_arrays
from edgerkd.files.paths import shown

MOST = 20_000
"""Images of a bundle, each of which is compared with all others (verify/distinct.py). Ours: 40 times what export takes,
and twice the test images of CIFAR-10."""
LIMIT = 3 << 29
"""Bytes of all arrays of samples, with four a value at least, for pixels become float32. Ours: 500 colour images of
224 x 224 pixels with adversarial ones made against the model and three other networks are 1.4 GiB."""
LOGITS_LIMIT = 1 << 28
"""Bytes of all logits of a reference. Ours: 20,000 images, clean and adversarial, in 1,000 classes have 153 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSamples:
    """`pixels` uint8 and `images_adv` float32 (n, c, h, w), the latter in [0, 1]; `labels` int64 (n,).

    `host_robust` (n,) says which images the host's model got right under every attack of the host. Both are None where
    the host attacked nothing. `transfers` float32 (k, n, c, h, w) are adversarial versions made against k other
    networks, which the manifest names.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    images_adv: NDArray[np.float32] | None = None
    host_robust: NDArray[np.bool_] | None = None
    transfers: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "StoredSamples":
        """These rows alone."""
        return _taken(self, rows)

    @property
    def images(self) -> NDArray[np.float32]:
        """The images (n, c, h, w) in [0, 1]."""
        return np.divide(self.pixels, 255, dtype=np.float32)


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
    taken = {name: array[:, rows] if name == "transfers" else array[rows] for name, array in found.items()}
    return replace(arrays, **taken)


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
    found = _present(arrays)
    limit = LIMIT if isinstance(arrays, StoredSamples) else LOGITS_LIMIT
    if problem := _excess([(array.shape, array.dtype.itemsize) for array in found.values()], limit):
        raise ConfigError(
            f"A bundle cannot hold these samples: {problem}: take fewer images with --images, or fewer other networks "
            "with --transfer-from."
        )
    buffer = io.BytesIO()
    np.savez(buffer, **found)
    return buffer.getvalue()


def read_samples(path: Path) -> StoredSamples:
    """Raises ArtefactError for a file that holds no samples, too many, or arrays of wrong type, length or range."""
    found = StoredSamples(**_read(path, ("pixels", "labels"), ("images_adv", "host_robust", "transfers"), LIMIT))
    n = found.labels.shape[0] if found.labels.ndim == 1 else 0
    shape = (n, *found.pixels.shape[1:])
    k = 0 if found.transfers is None or found.transfers.ndim == 0 else len(found.transfers)
    shapes = {"pixels": shape, "labels": (n,), "images_adv": shape, "host_robust": (n,), "transfers": (k, *shape)}
    problems = _problems(found, n, shapes)
    if not problems:
        if found.pixels.ndim != 4:
            problems.append(f"pixels are {found.pixels.shape}: expected (n, c, h, w)")
        if (found.images_adv is None) is not (found.host_robust is None):
            problems.append("images_adv and host_robust go together, and one is missing")
        for name, images in (("images_adv", found.images_adv), ("transfers", found.transfers)):
            if images is not None and images.size and (images.min() < 0 or images.max() > 1):
                problems.append(f"{name} must be within [0, 1]")
        if found.labels.min() < 0:
            problems.append(f"labels begin at {found.labels.min()}: there are no such classes")
    if problems:
        raise ArtefactError(problems_text(path, problems))
    return found


def read_reference(path: Path) -> Reference:
    """Raises ArtefactError for a file that holds no logits, too many, or some of wrong type or not finite."""
    found = Reference(**_read(path, ("logits",), ("logits_adv",), LOGITS_LIMIT))
    n = found.logits.shape[0] if found.logits.ndim == 2 else 0
    problems = _problems(found, n, dict.fromkeys(("logits", "logits_adv"), found.logits.shape))
    if problems:
        raise ArtefactError(problems_text(path, problems))
    return found


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


def _read(path: Path, needed: tuple[str, ...], optional: tuple[str, ...], limit: int) -> dict[str, AnyArray]:
    """The arrays of these names, the first of which has a row an image; sizes are known before any is unpacked."""
    with open_arrays(path) as archive:
        names = (*needed, *(name for name in optional if name in archive.names))
        headers = [archive.header(name) for name in names]
        if problem := _excess([(header.shape, header.dtype.itemsize) for header in headers], limit):
            raise ArtefactError(f"{shown(path)}: {problem}: make the bundle anew with fewer images (--images).")
        return {name: archive.read(name, limit=limit) for name in names}


def _excess(sizes: Sequence[tuple[tuple[int, ...], int]], limit: int) -> str | None:
    """How arrays of these shapes and bytes a value, the first with a row an image, are too many or too large."""
    first, _ = sizes[0]
    if first and first[0] > MOST:
        return f"there are {first[0]:,} images, and at most {MOST:,} are allowed"
    needed = sum(math.prod(shape) * max(4, size) for shape, size in sizes)
    if needed > limit:
        return f"the arrays take {format_size(needed)} as float32, and at most {format_size(limit)} are allowed"
    return None


def _problems(found: StoredSamples | Reference, n: int, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Arrays of a wrong type or shape, or with values that are no numbers."""
    problems: list[str] = []
    for name, shape in shapes.items():
        array, expected = getattr(found, name), _TYPES[name]
        if array is None:
            continue
        if n == 0 or array.dtype != expected or array.shape != shape:
            problems.append(f"{name} is {array.dtype} {array.shape}: expected {expected.__name__} {shape}")
        elif not np.isfinite(array).all():
            problems.append(f"{name} holds NaN or infinite values")
    return problems
