"""`--data`: the embedded digits, a known name, an .npz file, or a folder of images."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgerkd.core.errors import ConfigError, MissingDependencyError, UnknownNameError
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset, Split
from edgerkd.files.damage import DAMAGE

SPLIT_SEED = 0
_VALIDATION_SHARE = 0.1  # of the training images, at most 1,000; ours


def load_dataset(data: str) -> Dataset:
    """The data set `data` names: `digits`, `cifar10`, a path to an .npz file, or to a folder.

    Raises UnknownNameError for an unknown name, ConfigError for a file or folder that is not a data set.
    """
    if data in NAMED:
        return NAMED[data]()
    path = Path(data).expanduser()
    if path.is_dir():
        is_torchvision = (path / "cifar-10-batches-py").is_dir()
        return _torchvision_cifar10(path) if is_torchvision else _image_folder(path)
    if path.suffix == ".npz":
        return _npz(path)
    raise UnknownNameError("data set (nor such a folder or .npz file)", data, NAMED)


def _digits() -> Dataset:
    """The 1,797 handwritten digits, 8 x 8, that scikit-learn carries (UCI, Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    images = np.rint(np.asarray(pixels) * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = np.asarray(target, np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    parts = np.split(order, [1200, 1400])  # 1,200 to learn, 200 to choose, 397 to report
    splits = [Split(images=torch.from_numpy(images[p]), labels=torch.from_numpy(labels[p])) for p in parts]
    return _dataset("digits", *splits, eps=DIGITS_EPS, crop=1, flip=False)


DIGITS_EPS = Radius("32/255")  # ours: half of the strokes' contrast is 128/255


def _cifar10() -> Dataset:
    """CIFAR-10 from the cache folder: `cifar10.npz` there, or torchvision's own layout, or a download."""
    folder = data_folder()
    if (folder / "cifar10.npz").exists():
        return _npz(folder / "cifar10.npz")
    return _torchvision_cifar10(folder)


def data_folder() -> Path:
    """Where data sets are kept: EDGERKD_DATA, else `~/.cache/edgerkd-data`."""
    return Path(os.environ.get("EDGERKD_DATA", "~/.cache/edgerkd-data")).expanduser()


NAMED: dict[str, Callable[[], Dataset]] = {"digits": _digits, "cifar10": _cifar10}


def _torchvision_cifar10(root: Path) -> Dataset:
    """torchvision checks each file against its known MD5 before it reads it."""
    from torchvision.datasets import CIFAR10

    try:
        train, test = (CIFAR10(root, train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as e:
        raise MissingDependencyError(
            f"cifar10 is neither in {root} nor can it be downloaded here ({e}): put cifar10.npz or torchvision's "
            f"cifar-10-batches-py there, or name the file with --data PATH.npz"
        ) from e
    return _from_arrays("cifar10", *((part.data, np.asarray(part.targets)) for part in (train, test)))


def _npz(path: Path) -> Dataset:
    """Arrays x_train, y_train, x_test, y_test; images uint8 (n, h, w) or (n, h, w, c), labels (n,)."""
    keys = ("x_train", "y_train", "x_test", "y_test")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = [key for key in keys if key not in arrays]
            if missing:
                raise ConfigError(
                    f"{path}: no array named {', '.join(missing)}: an .npz data set has {', '.join(keys)}"
                )
            x_train, y_train, x_test, y_test = (arrays[key] for key in keys)
    except ConfigError:
        raise
    except (*DAMAGE, TypeError) as e:
        raise ConfigError(f"{path}: not a readable .npz file: {e}") from e
    for key, images in (("x_train", x_train), ("x_test", x_test)):
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise ConfigError(
                f"{path}: {key} is {images.dtype} {images.shape}: expected uint8 images (n, height, width[, channels])"
            )
    if len(x_train) > 1 and x_train.size and x_train.min() == x_train.max():
        raise ConfigError(f"{path}: x_train: every pixel of every image is {x_train.min()}: there is nothing to learn")
    return _from_arrays(path.stem, (x_train, y_train), (x_test, y_test))


def _image_folder(path: Path) -> Dataset:
    """`DIR/train/CLASS/*` and `DIR/test/CLASS/*`; or `DIR/CLASS/*`, of which one image in five is for the test."""
    from torchvision.datasets import ImageFolder

    def arrays(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
        try:
            found = ImageFolder(str(folder))
        except FileNotFoundError as e:
            raise ConfigError(f"{folder}: not a folder of images: expected DIR/CLASS/image.png ({e})") from e
        try:
            pictures = [found[index][0] for index in range(len(found))]
        except OSError as e:
            raise ConfigError(f"{folder}: holds a picture that cannot be read: {e}") from e
        sizes = {picture.size: file for picture, (file, _) in zip(pictures, found.samples, strict=True)}
        if len(sizes) > 1:
            (a, file_a), (b, file_b) = list(sizes.items())[:2]
            raise ConfigError(
                f"{folder}: images differ in size: {file_a} is {a[0]}x{a[1]}, {file_b} is {b[0]}x{b[1]}: "
                "resize them to one size"
            )
        images = np.stack([np.asarray(picture) for picture in pictures])
        return images, np.asarray(found.targets, np.int64), found.classes

    if (path / "train").is_dir() and (path / "test").is_dir():
        x_train, y_train, names = arrays(path / "train")
        x_test, y_test, names_test = arrays(path / "test")
        if names != names_test:
            raise ConfigError(f"{path}: train has the classes {names}, test has {names_test}")
        return _from_arrays(path.name, (x_train, y_train), (x_test, y_test))
    images, labels, _ = arrays(path)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    test, train = np.split(order, [len(order) // 5])
    return _from_arrays(path.name, (images[train], labels[train]), (images[test], labels[test]))


def _from_arrays(
    name: str, train: tuple[NDArray[np.uint8], NDArray[np.int64]], test: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> Dataset:
    """Channels first; the last training images, a tenth and at most 1,000, become the validation split."""
    splits: list[Split] = []
    for images, labels in (train, test):
        images = images[..., None] if images.ndim == 3 else images
        labels = np.asarray(labels)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise ConfigError(f"{name}: labels are {labels.dtype} {labels.shape}: expected whole numbers (n,)")
        if len(images) != len(labels) or len(images) < 2:
            raise ConfigError(f"{name}: {len(images)} images but {len(labels)} labels: expected as many, two at least")
        if labels.min() < 0:
            raise ConfigError(f"{name}: a label is {labels.min()}: classes are counted from 0")
        channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        splits.append(Split(images=torch.from_numpy(channels_first), labels=torch.from_numpy(labels.astype(np.int64))))
    if splits[0].images.shape[1:] != splits[1].images.shape[1:]:
        sizes = " and ".join(str(tuple(split.images.shape[1:])) for split in splits)
        raise ConfigError(f"{name}: training and test images differ in size: {sizes}")
    known, test_split = splits
    n_val = max(1, min(1000, int(len(known) * _VALIDATION_SHARE)))
    if set(known.labels[-n_val:].tolist()) != set(known.labels.tolist()):  # sorted by class: shuffle first
        order = torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(len(known)))
        known = Split(images=known.images[order], labels=known.labels[order])
    train_split = known.head(len(known) - n_val)
    val = Split(images=known.images[-n_val:], labels=known.labels[-n_val:])
    height = train_split.images.shape[2]
    return _dataset(name, train_split, val, test_split, eps=Radius("8/255"), crop=height // 8, flip=True)


def _dataset(name: str, train: Split, val: Split, test: Split, *, eps: Radius, crop: int, flip: bool) -> Dataset:
    digest = hashlib.sha256()
    for split in (train, val, test):
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    # The moments of at most 10,000 images are exact enough to normalise by, and quick.
    sample = train.images[:10_000].double().div(255)
    classes = int(torch.cat([train.labels, test.labels]).max()) + 1
    return Dataset(
        name=name,
        classes=classes,
        train=train,
        val=val,
        test=test,
        mean=tuple(round(float(m), 4) for m in sample.mean((0, 2, 3))),
        std=tuple(round(max(float(s), 1e-3), 4) for s in sample.std((0, 2, 3))),
        threat_model=ThreatModel(norm="Linf", eps=eps),
        crop=crop,
        flip=flip,
        sha256=digest.hexdigest(),
    )
