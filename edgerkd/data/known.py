"""Data sets that are known by name: where they lie, and how their images are brought to size and augmented."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerkd.core.errors import ConfigError, MissingDependencyError
from edgerkd.data.samples import Raw, RawSplit
from edgerkd.files.paths import own_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A data set by name. `flip` says that a mirrored image keeps its class."""

    name: str
    flip: bool
    crop: int | None = None
    """Pixels an image is shifted by; None: an eighth of its shorter side."""
    size: tuple[int, int] | None = None
    group_by: str | None = None
    """What pictures in a folder are brought to, and which of them show one object, where nothing else is asked."""


KNOWN = {
    known.name: known
    for known in (
        Known(name="digits", flip=False, crop=1),
        Known(name="mnist", flip=False),
        Known(name="fashion-mnist", flip=True),
        Known(name="cifar10", flip=True),
        Known(name="gtsrb", flip=False, size=(32, 32), group_by=r"^(?:\d+_)?(\d+)_\d+|^\d+"),
    )
}


def data_folder() -> Path:
    """Where data sets are kept: EDGERKD_DATA, else `~/.cache/edgerkd-data`."""
    return own_folder("EDGERKD_DATA", "~/.cache/edgerkd-data")


def load_digits() -> Raw:
    """The 1,797 handwritten digits, 8 x 8, that scikit-learn carries (UCI, Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits as load

    pixels, target = load(return_X_y=True)
    images = np.rint(np.asarray(pixels) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    labels = np.asarray(target, np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    # 1,200 to learn, 200 to choose, 397 to report
    train, val, test = (RawSplit(images=images[rows], labels=labels[rows]) for rows in np.split(order, [1200, 1400]))
    return Raw(name="digits", where="digits", train=train, val=val, test=test)


def find_torchvision(folder: Path, name: str | None = None) -> Callable[[], Raw] | None:
    """What reads torchvision's own layout in `folder`, of this data set or of any; None where there is none."""
    for known, (marker, load) in _LAYOUTS.items():
        if name in (None, known) and (folder / marker).is_dir():
            return lambda known=known, load=load: load(folder, known)
    return None


def download(name: str, folder: Path) -> Raw:
    """The data set by torchvision's own download. Raises MissingDependencyError where it cannot be had here."""
    return _LAYOUTS[name][1](folder, name)


def _cifar10(folder: Path, name: str) -> Raw:
    """torchvision checks each file against its known MD5 before it reads it."""
    from torchvision.datasets import CIFAR10

    try:
        train, test = (CIFAR10(folder, train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as e:
        raise unavailable(name, folder, e) from e
    return _raw(name, folder, *((part.data, np.asarray(part.targets)) for part in (train, test)))


def _mnist(folder: Path, name: str) -> Raw:
    """The idx files of MNIST and Fashion-MNIST, as torchvision keeps them. Format: LeCun's page of MNIST."""
    raw = folder / _LAYOUTS[name][0]
    if not raw.is_dir():
        from torchvision.datasets import MNIST, FashionMNIST

        try:
            {"mnist": MNIST, "fashion-mnist": FashionMNIST}[name](folder, download=True)
        except (OSError, RuntimeError) as e:
            raise unavailable(name, folder, e) from e
    parts = [
        (_idx(raw, f"{stem}-images-idx3-ubyte", 3), _idx(raw, f"{stem}-labels-idx1-ubyte", 1).astype(np.int64))
        for stem in ("train", "t10k")
    ]
    return _raw(name, folder, *parts)


def _idx(folder: Path, name: str, axes: int) -> np.ndarray:
    """One idx file, packed or not. Raises ConfigError for one that is damaged."""
    from edgerkd.files.damage import DAMAGE
    from edgerkd.files.paths import read_file

    packed = folder / f"{name}.gz"
    path = folder / name if (folder / name).exists() else packed
    content = read_file(path, limit=1 << 30)
    try:
        content = gzip.decompress(content) if path == packed else content
        shape = np.frombuffer(content, ">i4", axes, 4)
        if content[:4] != bytes((0, 0, 8, axes)):
            raise ValueError("its first bytes are not those of an idx file of bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape([int(side) for side in shape])
    except DAMAGE as e:
        raise ConfigError(f"{path} is damaged or not an idx file ({e}): download it again.") from e


def _raw(name: str, folder: Path, *parts: tuple[np.ndarray, np.ndarray]) -> Raw:
    train, test = (RawSplit(images=images, labels=labels) for images, labels in parts)
    return Raw(name=name, where=f"{name} in {folder}", train=train, test=test)


def unavailable(name: str, folder: Path, e: Exception | None = None) -> MissingDependencyError:
    """What to say where a known data set is not here."""
    why = "" if e is None else f" ({str(e).partition(chr(10))[0]})"
    return MissingDependencyError(
        f"{name} is not in {folder} and cannot be downloaded here{why}: put {name}.npz there, with x_train, y_train, "
        "x_test and y_test, or torchvision's own folder, or name a file with --data PATH.npz."
    )


_LAYOUTS: dict[str, tuple[str, Callable[[Path, str], Raw]]] = {
    "cifar10": ("cifar-10-batches-py", _cifar10),
    "mnist": ("MNIST/raw", _mnist),
    "fashion-mnist": ("FashionMNIST/raw", _mnist),
}
"""By name: the folder that shows torchvision's layout, and what reads it."""
