"""`--data`: the embedded digits, a known name, an .npz file, or a folder of pictures, to checked images.

This is the one way in. Every command that takes data calls `load_data`, and gets every check with it.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgerkd.core.data_request import DataRequest, Preprocessing
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.progress import Progress
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.data.cache import CachedImages, cached, identity, key_of
from edgerkd.data.check import check, left_out
from edgerkd.data.folder import Found, find_pictures
from edgerkd.data.gtsrb import find_gtsrb, is_gtsrb
from edgerkd.data.known import KNOWN, Known, data_folder, download, find_torchvision, load_digits, unavailable
from edgerkd.data.npz import NEEDED, TO_JUDGE, load_npz
from edgerkd.data.pictures import bad_files, choose_size, decode, look_at
from edgerkd.data.samples import Bytes, Checked, Ints, Raw, RawSplit
from edgerkd.data.split import (
    MOST_VALIDATION,
    SPLIT_SEED,
    TEST_SHARE,
    VALIDATION_SHARE,
    hold_out,
    shared_images,
)
from edgerkd.files.paths import find_kind, given_path, shown


def load_data(request: DataRequest, *, progress: Progress) -> Checked:
    """The data that `request` names: checked, and with a train, a val and a test split that share no image.

    Raises UnknownNameError for a name that is none, ConfigError with every problem
    of the data, MissingDependencyError for known data that cannot be had here.
    """
    raw = _raw(request, progress)
    if raw.train.files is None:
        _check_no_pictures(request)
    checked = check(raw, classes=request.classes)
    whole = _with_splits(checked.with_notes(*shared_images(checked.splits())), raw.where)
    return whole.with_notes(*left_out(whole))


def load_samples(request: DataRequest, *, prepared: Preprocessing | None = None, progress: Progress) -> Checked:
    """Checked images to judge a finished model by, all in `test`: the test split, or all where there is none.

    Pictures in files are brought to what `prepared` says, where it is given.

    Raises as `load_data` does, but an .npz file needs no more than x_test and y_test, and its labels may have gaps:
    how many classes there are the model knows.
    """
    pictures = request
    if prepared is not None:
        pictures = replace(request, size=prepared.size, fit=prepared.fit, alpha=prepared.alpha)
    raw = _raw(pictures, progress, needed=TO_JUDGE)
    if raw.train.files is None:
        _check_no_pictures(request)
    checked = check(raw, classes=request.classes or _highest_label(raw))
    if checked.test is not None:
        return checked
    return replace(checked, test=checked.train, notes=(*checked.notes, "There is one split: all its images are used."))


def _highest_label(raw: Raw) -> int | None:
    """How many classes labels that are numbers reach; None where classes have names, or labels are no numbers."""
    labels = [split.labels for split in raw.splits().values()]
    if raw.names is not None or any(each.size == 0 or each.dtype.kind not in "iu" for each in labels):
        return None
    return max(2, *(int(each.max()) + 1 for each in labels))


def _raw(request: DataRequest, progress: Progress, needed: tuple[str, ...] = NEEDED) -> Raw:
    source = request.source
    if source in KNOWN:
        return _known(request, progress)
    path = given_path(source)
    kind = find_kind(path)
    if kind == "a folder":
        if is_gtsrb(path):
            return _gtsrb(path, request, progress)
        found = find_torchvision(path)
        return found() if found is not None else _folder(path, find_pictures(path), request, progress)
    if path.suffix == ".npz":
        return load_npz(path, say=progress.say, needed=needed)
    if kind is not None:
        raise ConfigError(f"{shown(path)}: this is {kind}: --data takes an .npz file or a folder of pictures.")
    raise UnknownNameError("data set (nor such a folder or .npz file)", source, KNOWN)


def _known(request: DataRequest, progress: Progress) -> Raw:
    """From the data folder: NAME.npz there, torchvision's own layout, a folder of pictures, or a download."""
    name, folder = request.source, data_folder()
    if name == "digits":
        return load_digits()
    if (folder / f"{name}.npz").exists():
        return replace(load_npz(folder / f"{name}.npz", say=progress.say), name=name)
    if (found := find_torchvision(folder, name)) is not None:
        return found()
    if name == "gtsrb" and is_gtsrb(folder):
        return _gtsrb(folder, request, progress)
    if (folder / name).is_dir():
        pictures = find_pictures(folder / name)
        return replace(_folder(folder / name, pictures, _filled(request, KNOWN[name]), progress), name=name)
    if name == "gtsrb":
        raise unavailable(name, folder)
    return download(name, folder)


def _check_no_pictures(request: DataRequest) -> None:
    """Raises ConfigError where something was asked of pictures in files, and the data are arrays."""
    plain = DataRequest(source=request.source)
    for name in ("size", "fit", "group_by", "skip_bad", "alpha"):
        if getattr(request, name) != getattr(plain, name):
            arrays = "; an .npz file has group_train for it" if name == "group_by" else ""
            raise ConfigError(
                f"--{name.replace('_', '-')}: {shown(request.source)} holds arrays, and this flag is for pictures in "
                f"a folder: leave it out{arrays}."
            )


def _gtsrb(path: Path, request: DataRequest, progress: Progress) -> Raw:
    return replace(_folder(path, find_gtsrb(path), _filled(request, KNOWN["gtsrb"]), progress), name="gtsrb")


def _filled(request: DataRequest, known: Known) -> DataRequest:
    """What is customary for known data, where nothing else was asked for."""
    return replace(request, size=request.size or known.size, group_by=request.group_by or known.group_by)


def _folder(path: Path, found: Found, request: DataRequest, progress: Progress) -> Raw:
    """Pictures found in a folder, decoded."""
    names = tuple(sorted({name for classes in found.splits.values() for name in classes}))
    files = [file for classes in found.splits.values() for pictures in classes.values() for file in pictures]
    with progress.stage(f"{path.name}: reading headers", len(files)) as advance:
        looks = look_at(files, request.alpha, lambda done: advance(done, "pictures"))
    unfit = set(bad_files(path, files, [look.problem for look in looks], request))
    fit = [look for row, look in enumerate(looks) if row not in unfit]
    if not fit:
        raise ConfigError(f"{shown(path)}: none of its {len(files)} pictures can be used.")
    height, width = choose_size(fit, path, request.size)
    channels = 3 if any(look.colour for look in fit) else 1
    kept = [file for row, file in enumerate(files) if row not in unfit]
    shape = (len(kept), height, width, channels)

    def fill(pixels: Bytes) -> list[int]:
        with progress.stage(f"{path.name}: decoding", len(kept)) as advance:
            problems = decode(
                kept, pixels, fit=request.fit, alpha=request.alpha, after=lambda done: advance(done, "pictures")
            )
        return bad_files(path, kept, problems, request)

    files = [(str(file.relative_to(path)), *identity(file)) for file in kept]
    key = key_of({"shape": shape, "files": files, "fit": request.fit, "alpha": request.alpha})
    images = cached(key, shape, fill, say=progress.say)
    if images.bad:  # found when they were decoded, which may have been with --skip-bad
        damaged = set(images.bad)
        bad_files(path, kept, ["is damaged" if row in damaged else None for row in range(len(kept))], request)
    notes = list(found.notes)
    if skipped := len(unfit) + len(images.bad):
        notes.append(f"Pictures that could not be used, left out by --skip-bad: {skipped}.")
    if channels == 3 and (grey := sum(not look.colour for look in fit)):
        notes.append(f"Grey pictures next to colour ones, converted to colour: {grey}.")
    kept = [file for place, file in enumerate(kept) if place not in set(images.bad)]
    splits = _by_split(path, found, names, kept, images, request)
    if "val" in splits and "test" not in splits:
        splits["test"] = splits.pop("val")
        notes.append("There is no test split: the val split is used as one, and a part of train for validation.")
    train = splits.get("train") or splits["all"]
    return Raw(
        name=_name_of(path),
        where=shown(path),
        train=train,
        val=splits.get("val"),
        test=splits.get("test"),
        names=names,
        size=request.size,
        notes=tuple(notes),
    )


def _by_split(
    path: Path, found: Found, names: tuple[str, ...], kept: Sequence[Path], images: CachedImages, request: DataRequest
) -> dict[str, RawSplit]:
    """Each split's part of the decoded pictures, which lie in the order of splits and classes."""
    number, there = {name: label for label, name in enumerate(names)}, set(kept)
    splits: dict[str, RawSplit] = {}
    first = 0
    for split, classes in found.splits.items():
        members = [(file, number[name]) for name, pictures in classes.items() for file in pictures if file in there]
        rows = slice(first, first := first + len(members))
        splits[split] = RawSplit(
            images=images.pixels[rows],
            labels=np.asarray([label for _, label in members], np.int64),
            digests=images.digests[rows],
            groups=None if split in ("val", "test") else _groups(path, members, request),
            files=[str(file.relative_to(path)) for file, _ in members],
            images_name=f"{split} pictures",
            labels_name=f"{split} labels",
        )
    return splits


def _groups(path: Path, members: Sequence[tuple[Path, int]], request: DataRequest) -> Ints | None:
    """A number for each object, by the part of a file's name that `--group-by` matches, within its class."""
    if request.group_by is None:
        return None
    shown_pattern = repr(printable(request.group_by, 60))
    try:
        pattern = re.compile(request.group_by)
    except re.error as e:
        raise ConfigError(f"--group-by {shown_pattern} is not a regular expression: {e}.") from e
    keys: list[tuple[int, str]] = []
    for file, label in members:
        match = pattern.search(file.name)
        if match is None:
            name = shown(file.relative_to(path))
            raise ConfigError(f"{shown(path)}: --group-by {shown_pattern} matches nothing in the name of {name}.")
        keys.append((label, match[0] if not pattern.groups or match[1] is None else match[1]))
    number = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    return np.asarray([number[key] for key in keys], np.int64)


def _name_of(path: Path) -> str:
    return printable(path.resolve().name or "data", LONGEST_NAME // 2)


def _with_splits(data: Checked, where: str) -> Checked:
    """Test and validation images drawn where the data bring none: by class, and no object on both sides."""
    if data.test is None:
        kept, held = _held_out(data, where, TEST_SHARE, most=None)
        data = replace(
            data,
            train=data.train.take(kept),
            test=data.train.take(held),
            notes=(
                *data.notes,
                f"There is no test split: {TEST_SHARE:.0%} of the images, drawn by class, are held out as one.",
            ),
        )
    if data.val is None:
        kept, held = _held_out(data, where, VALIDATION_SHARE, most=MOST_VALIDATION)
        data = replace(data, train=data.train.take(kept), val=data.train.take(held))
    return data


def _held_out(data: Checked, where: str, share: float, *, most: int | None) -> tuple[Ints, Ints]:
    kept, held = hold_out(data.train, share, most=most, seed=SPLIT_SEED)
    if len(held) == 0:
        whole = "no object (--group-by, group_train)" if data.train.groups is not None else "no image"
        raise ConfigError(
            f"{where}: {whole} can be held out for validation or testing, because some class would have none left to "
            "learn from: bring a validation and a test split, or more of each class."
        )
    return kept, held
