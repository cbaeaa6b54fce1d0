"""The images a bundle is verified on, with the adversarial versions that the host found, and reference logits."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ArtefactError, problems_text
from edgerkd.files.arrays import AnyArray, open_arrays

LIMIT = 1 << 30
"""Bytes of one array. Ours: 500 colour images of 224 x 224 pixels are 0.3 GB in float32."""


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
    found = {field.name: getattr(arrays, field.name) for field in fields(arrays)}
    taken = {
        name: array[:, rows] if name == "transfers" else array[rows]
        for name, array in found.items()
        if array is not None
    }
    return replace(arrays, **taken)


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
    """What there is as an uncompressed .npz file."""
    found = {f.name: getattr(arrays, f.name) for f in fields(arrays)}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in found.items() if array is not None})
    return buffer.getvalue()


def read_samples(path: Path) -> StoredSamples:
    """Raises ArtefactError for a file that holds no samples, or arrays of wrong type, length or range."""
    found = StoredSamples(**_read(path, ("pixels", "labels"), ("images_adv", "host_robust", "transfers")))
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
    """Raises ArtefactError for a file that holds no logits, or some of wrong type or not finite."""
    found = Reference(**_read(path, ("logits",), ("logits_adv",)))
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
        right = (reference.logits.argmax(1) == samples.labels) & (reference.logits_adv.argmax(1) == samples.labels)
        if (samples.host_robust & ~right).any():
            found.append("host_robust names images that the reference logits answer wrong")
    return found


def _read(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, AnyArray]:
    with open_arrays(path) as archive:
        names = (*needed, *(name for name in optional if name in archive.names))
        return {name: archive.read(name, limit=LIMIT) for name in names}


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
