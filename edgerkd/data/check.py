"""The one check of images and labels, wherever they come from: what is refused, and how to fix it.

Nothing is converted in silence and nothing is clipped. All problems of a data set are named at once.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.data_request import MOST_CLASSES
from edgerkd.core.errors import ConfigError, problems_text
from edgerkd.core.text import LONGEST_NAME, text_problem
from edgerkd.data.samples import Bytes, Checked, Ints, Raw, RawSplit, Samples, image_digests, numbers_as_names

LEAST_SIDE = 4  # pixels; ours: below it no stage of a network is left
_LOOK = 2000  # images that ranges of values are read from, spread over all; ours
_BLOCK = 4096


def check(raw: Raw, *, classes: int | None) -> Checked:
    """The data as uint8 images and int64 labels, their classes named.

    `classes` is what `--classes` says: labels may then have gaps. Raises ConfigError with every problem.
    """
    problems: list[str] = []
    for split in raw.splits().values():
        problems += image_problems(split.images, split.images_name)
        problems += _label_problems(split)
    if not problems:
        problems += _shape_problems(raw)
        problems += _class_problems(raw, classes)
    if problems:
        raise ConfigError(problems_text(raw.where, list(dict.fromkeys(problems))))
    names = _class_names(raw, classes)
    notes = list(raw.notes)
    splits = {name: _samples(split, raw.where, notes) for name, split in raw.splits().items()}
    return Checked(
        name=raw.name,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        classes=names,
        size=raw.size,
        notes=tuple(notes),
    )


def image_problems(images: NDArray[Any], name: str) -> Iterator[str]:
    """What is wrong with one array of images, which messages call by this name."""
    if images.size == 0 and images.ndim:
        yield f"{name} has the shape {images.shape}: there are no images in it."
        return
    if (form := _form_problem(images, name)) is not None:
        yield form
        return
    sample = images[_spread(len(images), _LOOK)]
    if (kind := _kind_problem(sample, name)) is not None and not (sample.dtype == np.uint8 and images.max() > 1):
        yield kind
    elif len(images) > 1 and sample.min() == sample.max() and images.min() == images.max():
        yield f"{name}: every pixel of every image is {sample.flat[0]}: there is nothing to learn."


def _form_problem(images: NDArray[Any], name: str) -> str | None:
    """What is wrong with the axes."""
    shape = images.shape
    if images.ndim == 2:
        side = round(shape[1] ** 0.5)
        example = f"{name}.reshape(-1, {side}, {side})" if side * side == shape[1] else f"{name}.reshape(-1, H, W, C)"
        return f"{name} has the shape {shape}: each image is a flat row of numbers. Restore their axes: {example}."
    if images.ndim not in (3, 4):
        return f"{name} has the shape {shape}: expected (n, height, width) or (n, height, width, channels)."
    if images.ndim == 4 and shape[3] not in (1, 3):
        if shape[1] in (1, 3) and shape[2] > 4:
            return f"{name} has the shape {shape}, channels first: write {name}.transpose(0, 2, 3, 1)."
        if shape[3] == 4 or (shape[1] == 4 and shape[2] > 4):
            return f"{name} has 4 channels, the last of them opacity: leave it out ({name}[..., :3])."
        if shape[3] == 2:
            return f"{name} has 2 channels, the second of them opacity: leave it out ({name}[..., :1])."
        return f"{name} has the shape {shape}: {shape[3]} channels, and edgerkd takes 1 (grey) or 3 (red, green, blue)."
    if min(shape[1:3]) < LEAST_SIDE:
        return f"{name}: images are {shape[2]}x{shape[1]} pixels, and at least {LEAST_SIDE}x{LEAST_SIDE} are needed."
    return None


def _kind_problem(sample: NDArray[Any], name: str) -> str | None:
    """What is wrong with the type or the values."""
    kind = sample.dtype.kind
    if kind == "b" or (sample.dtype == np.uint8 and sample.max() == 1):
        return f"{name} holds only 0 and 1: multiply it by 255 ({name}.astype(np.uint8) * 255), because white is 255."
    if sample.dtype == np.uint8:
        return None
    if kind == "f":
        return _float_problem(sample, name)
    if kind in "iu":
        low, high = sample.min(), sample.max()
        if low >= 0 and high <= 255:
            return f"{name} is {sample.dtype}: write {name}.astype(np.uint8)."
        if low >= 0:
            white = 2 ** max(10, int(high).bit_length()) - 1
            return (
                f"{name} is {sample.dtype}, from {low} to {high}: if white is {white}, write "
                f"np.rint({name} * (255 / {white})).astype(np.uint8) for 8 bits."
            )
        return f"{name} is {sample.dtype}, from {low} to {high}: scale it to 0 to 255 as uint8, where black is 0."
    return f"{name} is {sample.dtype}: expected uint8."


def _float_problem(sample: NDArray[Any], name: str) -> str | None:
    """Floats in [0, 1] are taken; for all others the conversion is named."""
    if not np.isfinite(sample).all():
        return f"{name} holds NaN or infinite values: find and repair these images first."
    low, high = float(sample.min()), float(sample.max())
    if low >= 0 and high <= 1:
        return None
    if -1.001 <= low < 0 and high <= 1.001:
        return f"{name} ranges from {low:.3g} to {high:.3g}: write ({name} + 1) / 2, because images lie in [0, 1]."
    if low >= 0 and high <= 255:
        return f"{name} ranges from {low:.3g} to {high:.3g}: write np.rint({name}).astype(np.uint8)."
    return (
        f"{name} ranges from {low:.3g} to {high:.3g}: undo the normalisation ({name} * std + mean), "
        "because the network normalises itself and images lie in [0, 1]."
    )


def _label_problems(split: RawSplit) -> Iterator[str]:
    """What is wrong with one array of labels, and with the groups beside it."""
    labels, name, n = _column(split.labels), split.labels_name, len(split.images) if split.images.ndim else 0
    if labels.ndim == 2 and len(labels) and labels.dtype.kind in "iubf" and (labels.sum(1) == 1).all():
        yield f"{name} is one-hot, with a column per class: write {name}.argmax(1)."
        return
    if labels.ndim != 1:
        yield f"{name} has the shape {labels.shape}: expected a whole number for each image, ({n},)."
        return
    if labels.dtype.kind in "US":
        yield f"{name} holds text: number the classes (np.unique({name}, return_inverse=True)[1])."
    elif labels.dtype.kind == "f" and labels.size and (labels == np.rint(labels)).all():
        yield f"{name} is {labels.dtype}: write {name}.astype(np.int64)."
    elif labels.dtype.kind not in "iu":
        yield f"{name} is {labels.dtype}: expected whole numbers."
    if len(labels) != n:
        yield f"{split.images_name} has {n} images and {name} {len(labels)} labels: there must be one for each."
    groups = split.groups
    if groups is not None and (groups.shape != (n,) or groups.dtype.kind not in "iu"):
        yield f"The groups of {name} are {groups.dtype} {groups.shape}: expected a whole number for each image."


def _shape_problems(raw: Raw) -> Iterator[str]:
    """Splits whose images differ in size or channels."""
    shapes = {split.images_name: with_channels(split.images).shape[1:] for split in raw.splits().values()}
    if len(set(shapes.values())) > 1:
        yield "; ".join(f"{name} has images {shape}" for name, shape in shapes.items()) + ": they must be of one size."


def _class_problems(raw: Raw, classes: int | None) -> Iterator[str]:
    """Labels that leave gaps, classes that nobody can learn."""
    labels = {split.labels_name: _column(split.labels) for split in raw.splits().values()}
    train, name = _column(raw.train.labels), raw.train.labels_name
    found = {name: np.unique(column).tolist() for name, column in labels.items()}
    every = sorted({label for those in found.values() for label in those})
    low, high = every[0], every[-1]
    if low < 0:
        where = next(name for name, those in found.items() if low in those)
        yield f"A label in {where} is {low}: classes are counted from 0. Leave such images out, or renumber."
        return
    given = None if raw.names is None else len(raw.names)
    most = classes or given
    if most is not None and high >= most:
        said = f"--classes says {classes}" if classes else f"{given} classes are named"
        yield f"A label is {high}, and {said}: labels go from 0 to {most - 1}."
    if most is None:
        yield from _gap_problems(every, name)
    known = np.unique(train)
    if len(known) < 2:
        only = _named(raw, int(known[0])) if len(known) else "none"
        deeper = " Name the folder that contains the classes." if raw.train.files is not None else ""
        yield f"{name} holds one class only, {only}: at least two are needed.{deeper}"
    if untaught := sorted(set(every) - set(known.tolist())):
        shown = ", ".join(_named(raw, label) for label in untaught[:5]) + (", ..." if len(untaught) > 5 else "")
        yield (
            f"No training image of: {shown}{_alike(raw, untaught)}. A class must be in the training split to be "
            "learned."
        )


def _alike(raw: Raw, untaught: Sequence[int]) -> str:
    """A hint where a class has the name of another one, in other letters: written by two programs, most likely."""
    if raw.names is None:
        return ""
    plain = [unicodedata.normalize("NFKC", name).casefold() for name in raw.names]
    twins = [label for label in untaught if label < len(plain) and plain.count(plain[label]) > 1]
    return f" ({raw.names[twins[0]]!r} looks like another class, spelled differently: rename one)" if twins else ""


def _gap_problems(every: Sequence[int], name: str) -> Iterator[str]:
    """Labels that do not count 0, 1, 2 ... without a gap."""
    low, high, n = every[0], every[-1], len(every)
    if high - low + 1 == n and low > 0:
        how = "counted from 1" if low == 1 else f"shifted by {low}"
        yield (
            f"Labels run from {low} to {high}, so they are {how}: write {name} - {low}, or --classes {high + 1} if "
            f"{'class 0 is' if low == 1 else 'the classes below are'} meant and empty."
        )
    elif high + 1 != n:
        yield (
            f"Labels are sparse, {n} different ones from {low} to {high}: renumber them "
            f"(np.unique({name}, return_inverse=True)[1]), or say --classes {high + 1}."
        )
    if high >= MOST_CLASSES:
        yield f"A label is {high}: at most {MOST_CLASSES:,} classes are supported."


def _class_names(raw: Raw, classes: int | None) -> tuple[str, ...]:
    """The names given, else the numbers. Raises ConfigError for names that cannot be shown."""
    if raw.names is None:
        highest = max(int(split.labels.max()) for split in raw.splits().values())
        return numbers_as_names(classes or highest + 1)
    odd = [f"class {i}: its name {p}" for i, n in enumerate(raw.names) if (p := text_problem(n, LONGEST_NAME))]
    empty = [f"class {i} has no name" for i, n in enumerate(raw.names) if not n.strip()]
    if odd or empty:
        raise ConfigError(problems_text(raw.where, [*odd, *empty]))
    names = (*raw.names, *(f"class {label}" for label in range(len(raw.names), classes or 0)))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(f"{raw.where}: several classes are named {twice[0]!r}: reports could not tell them apart.")
    return names


def left_out(data: Checked) -> Iterator[str]:
    """A line for each split that has no image of some class."""
    for name, split in data.splits().items():
        there = set(np.unique(split.labels).tolist())
        absent = [data.classes[label] for label in range(len(data.classes)) if label not in there]
        if absent:
            yield f"The {name} split has no image of {', '.join(absent[:8])}{', ...' if len(absent) > 8 else ''}."


def _samples(split: RawSplit, where: str, notes: list[str]) -> Samples:
    images = with_channels(split.images)
    if images.dtype != np.uint8:
        images = rounded(images, where, split.images_name, notes)
    return Samples(
        pixels=images,
        rows=np.arange(len(images)),
        labels=_column(split.labels).astype(np.int64),
        digests=image_digests(images) if split.digests is None else split.digests,
        groups=None if split.groups is None else split.groups.astype(np.int64),
        files=split.files,
    )


def rounded(images: NDArray[Any], where: str, name: str, notes: list[str]) -> Bytes:
    """Floats in [0, 1] as bytes; `notes` hears how far that was. Raises ConfigError for a value outside."""
    found, furthest = np.empty(images.shape, np.uint8), 0.0
    for first in range(0, len(images), _BLOCK):
        part = images[first : first + _BLOCK] * 255.0
        if not (part.min() >= 0 and part.max() <= 255):  # NaN is neither
            raise ConfigError(f"{where}: {_float_problem(images[first : first + _BLOCK], name)}")
        whole = np.rint(part)
        furthest = max(furthest, float(np.abs(part - whole).max()))
        found[first : first + _BLOCK] = whole
    if found.max(initial=0) <= 1:
        raise ConfigError(
            f"{where}: {name} are floats that become 0 and 1 of 255: they seem to have been divided by 255 twice. "
            "Images lie in [0, 1], where 1 is white."
        )
    if furthest > 1e-3:
        notes.append(f"{name} are floats: they were rounded to 8 bits, by up to {furthest / 255:.4f}.")
    return found


def with_channels(images: NDArray[Any]) -> NDArray[Any]:
    """Grey images (n, h, w) as (n, h, w, 1), others as they are."""
    return images[..., None] if images.ndim == 3 else images


def _column(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels (n, 1), as Keras stores them, as (n,)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _named(raw: Raw, label: int) -> str:
    return raw.names[label] if raw.names is not None and label < len(raw.names) else f"class {label}"


def _spread(n: int, most: int) -> Ints:
    """Up to `most` rows, spread evenly over `n`."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
