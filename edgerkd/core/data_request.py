"""What a user asks about the data: enough to load the same images again."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from edgerkd.core.errors import ConfigError
from edgerkd.core.ranges import Amount, Length, Name, Within
from edgerkd.core.record import Record

Side = Annotated[int, Within(4, 4096)]
MOST_CLASSES = 10_000
"""Ours: ImageNet-21k, restricted to classes with enough images, has about that many."""

Fit = Literal["crop", "stretch"]
Alpha = Literal["refuse", "black", "white"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest(Record):
    """`source` names the data: `digits`, a known name, an .npz file or a folder. All else is about a user's own data.

    `size` (height, width) is what pictures are brought to: by `crop`, the shorter side resized and the middle kept, or
    by `stretch`. `classes` says how many classes there are where some have no images. `group_by` is a regular
    expression: pictures whose file names match it in the same part show one object. `flip` says whether mirroring keeps
    the class; None leaves it to what is known of the data. `alpha` is the colour behind transparent pictures.
    """

    source: Annotated[str, Length(1)]
    size: tuple[Side, Side] | None = None
    fit: Fit = "crop"
    classes: Annotated[int, Within(2, MOST_CLASSES)] | None = None
    group_by: Annotated[str, Length(1)] | None = None
    flip: bool | None = None
    skip_bad: bool = False
    alpha: Alpha = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation(Record):
    """What training does to images, apart from what the recipe says: shifts of up to `crop` pixels, and mirroring."""

    crop: Amount
    flip: bool

    def __str__(self) -> str:
        shift = f"shifted by up to {self.crop} pixels" if self.crop else "not shifted"
        return f"{shift}, {'mirrored' if self.flip else 'not mirrored'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing(Record):
    """What was done to pictures before any network saw them, and must be done to those on a device.

    `size` is (height, width); None where pictures are taken as they are.
    """

    size: tuple[Side, Side] | None
    fit: Fit
    alpha: Alpha
    channels: Annotated[int, Within(1, 3)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts(Record):
    """What was read: recorded in a run, and printed before anything is trained.

    `train`, `val` and `test` are images a split, `per_class` training images a class, in the order of `classes`.
    """

    name: Name
    sha256: Annotated[str, Length(64, 64)]
    classes: Annotated[tuple[Name, ...], Length(2, MOST_CLASSES)]
    train: Amount
    val: Amount
    test: Amount
    per_class: tuple[Amount, ...]
    preprocessing: Preprocessing
    augmentation: Augmentation


def source_of(path: Path) -> str:
    """The `source` that a path is, which no data set's name is: `./mnist` is a folder."""
    return str(path) if len(path.parts) > 1 else f"./{path}"


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of `64`, or of `64x48`: 64 wide and 48 high, as pictures are. Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text.strip())
    sides = None if found is None else (int(found[2] or found[1]), int(found[1]))
    if sides is None or not all(4 <= side <= 4096 for side in sides):
        raise ConfigError(
            f"--size {text[:40]!r} is not a size: write 64, or 64x48 for width and height, each 4 to 4096"
        )
    return sides
