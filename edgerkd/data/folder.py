"""A folder of pictures: which files are pictures of which class and split, without opening one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgerkd.core.errors import ConfigError, problems_text
from edgerkd.core.text import LONGEST_NAME, printable, text_problem
from edgerkd.files.paths import shown, unreadable

PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".pbm", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jfif"}
)
SPLITS = {
    "train": frozenset({"train", "training", "train_set", "training_set", "trainset"}),
    "val": frozenset({"val", "valid", "validation", "val_set", "validation_set", "valset"}),
    "test": frozenset({"test", "testing", "test_set", "testing_set", "testset"}),
}
"""Names of folders that are splits, in any letter case, and never classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """By split and class the pictures, in order; what was passed over is counted."""

    splits: dict[str, dict[str, list[Path]]]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Skipped:
    hidden: int = 0
    foreign: Counter[str] = field(default_factory=Counter[str])
    links: int = 0
    loose: int = 0
    beside: list[str] = field(default_factory=list[str])
    empty: list[str] = field(default_factory=list[str])

    def notes(self) -> Iterator[str]:
        if self.hidden:
            yield f"Hidden files and folders skipped: {self.hidden}."
        if self.foreign:
            kinds = ", ".join(f"{count} {kind or 'without an ending'}" for kind, count in self.foreign.most_common(5))
            yield f"Files that are not pictures skipped: {kinds}."
        if self.links:
            yield f"Links that lead out of the folder, or in a circle, not followed: {self.links}."
        if self.loose:
            yield f"Pictures outside the folders of the classes skipped: {self.loose}."
        if self.empty:
            yield f"Folders without pictures, not taken as classes: {', '.join(map(printable, self.empty[:5]))}."
        if self.beside:
            yield f"Folders next to the splits not read: {', '.join(self.beside[:5])}."


def find_pictures(root: Path) -> Found:
    """`ROOT/CLASS/*`, or `ROOT/train/CLASS/*` and `ROOT/test/CLASS/*`; pictures may lie deeper within a class.

    Raises ConfigError for a folder without pictures, for splits that do not go together, and for classes whose names
    cannot be shown.
    """
    skipped, inside = _Skipped(), root.resolve()
    folders = _subfolders(root, inside, skipped)
    by_split: dict[str, list[Path]] = {}
    for folder in folders:
        if (split := split_of(folder.name)) is not None:
            by_split.setdefault(split, []).append(folder)
    if not by_split:
        return Found(splits={"all": _classes(root, folders, inside, skipped)}, notes=tuple(skipped.notes()))
    if twice := {split: paths for split, paths in by_split.items() if len(paths) > 1}:
        pairs = "; ".join(f"{split}: {', '.join(path.name for path in paths)}" for split, paths in twice.items())
        raise ConfigError(f"{shown(root)}: two folders are the same split ({pairs}): keep one of them.")
    if "train" not in by_split:
        there = ", ".join(paths[0].name for paths in by_split.values())
        raise ConfigError(
            f"{shown(root)}: there is {there} and no training split: add a folder train/, or name the folder above "
            "the classes."
        )
    skipped.beside = [folder.name for folder in folders if split_of(folder.name) is None]
    splits = {
        split: _classes(paths[0], _subfolders(paths[0], inside, skipped), inside, skipped)
        for split, paths in by_split.items()
    }
    return Found(splits=splits, notes=tuple(skipped.notes()))


def split_of(name: str) -> str | None:
    """The split that a folder's name means, or None."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    return next((split for split, names in SPLITS.items() if plain in names), None)


def _classes(folder: Path, folders: list[Path], inside: Path, skipped: _Skipped) -> dict[str, list[Path]]:
    """Each subfolder's pictures. Raises ConfigError where there are none."""
    found = {path.name: sorted(_pictures(path, inside, skipped, frozenset({path.resolve()}))) for path in folders}
    empty = [name for name, pictures in found.items() if not pictures]
    found = {name: pictures for name, pictures in sorted(found.items()) if pictures}
    odd = [problem for name in found if (problem := text_problem(name, LONGEST_NAME)) is not None]
    if odd:
        raise ConfigError(problems_text(shown(folder), [f"the name of a class's folder {line}" for line in odd[:5]]))
    if not found:
        why = f"its folders ({', '.join(empty[:5])}) hold none" if empty else "it has no folders"
        seen = "".join(f" {note}" for note in skipped.notes())
        raise ConfigError(
            f"{shown(folder)}: not a folder of pictures: {why}. Expected {shown(folder.name)}/CLASS/picture.png.{seen}"
        )
    skipped.empty += empty
    return found


def _subfolders(folder: Path, inside: Path, skipped: _Skipped) -> list[Path]:
    """The folders to look into; pictures beside them belong to no class."""
    found: list[Path] = []
    for entry in _entries(folder, skipped):
        if _is_folder(entry):
            if _within(entry, inside, frozenset({folder.resolve()}), skipped):
                found.append(entry)
        elif entry.suffix.lower() in PICTURES:
            skipped.loose += 1
        else:
            skipped.foreign[entry.suffix.lower()] += 1
    return found


def _pictures(folder: Path, inside: Path, skipped: _Skipped, above: frozenset[Path]) -> Iterator[Path]:
    for entry in _entries(folder, skipped):
        if _is_folder(entry):
            if _within(entry, inside, above, skipped):
                yield from _pictures(entry, inside, skipped, above | {entry.resolve()})
        elif entry.suffix.lower() not in PICTURES:
            skipped.foreign[entry.suffix.lower()] += 1
        elif _within(entry, inside, frozenset(), skipped):
            yield entry


def _entries(folder: Path, skipped: _Skipped) -> list[Path]:
    """What is in a folder, in order, without what is hidden. Raises as files/paths.py for one that cannot be read."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as e:
        raise unreadable(folder, e) from e
    skipped.hidden += sum(entry.name.startswith(".") for entry in entries)
    return [entry for entry in entries if not entry.name.startswith(".")]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as e:
        raise unreadable(path, e) from e


def _within(path: Path, inside: Path, above: frozenset[Path], skipped: _Skipped) -> bool:
    """Whether a link, if it is one, stays in the data's folder and leads to none that it lies in."""
    if not path.is_symlink():
        return True
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # broken, or a circle
        skipped.links += 1
        return False
    stays = target.is_relative_to(inside) and target not in above and not inside.is_relative_to(target)
    skipped.links += not stays
    return stays
