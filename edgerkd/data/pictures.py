"""Pictures from files, decoded side by side, brought to one size, and kept decoded in a mapped file."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgerkd.core.data_request import Alpha, DataRequest, Fit
from edgerkd.core.errors import ConfigError, EdgerkdError, MissingDependencyError, problems_text
from edgerkd.data.samples import Bytes
from edgerkd.files.damage import DAMAGE
from edgerkd.files.paths import open_file, shown

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN = 10  # bad files that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a picture's header says. `problem` is why it cannot be taken, None where it can."""

    size: tuple[int, int]
    colour: bool
    problem: str | None = None


Heard = Callable[[int], None]
"""Hears how many files are done."""


def look_at(paths: Sequence[Path], alpha: Alpha, after: Heard) -> list[Look]:
    """Each picture's header, read before any pixels are."""
    return list(_side_by_side(lambda path: _look(path, alpha), paths, after))


def _look(path: Path, alpha: Alpha) -> Look:
    try:
        with open_file(path) as file, _pillow().open(file) as picture:
            problem = _mode_problem(picture, alpha)  # first: looking for Exif data may load the picture
            width, height = _upright(picture)
            return Look(size=(height, width), colour=_is_colour(picture), problem=problem)
    except (EdgerkdError, *_damage()) as e:
        return Look(size=(0, 0), colour=False, problem=_said(e))


def _mode_problem(picture: "Image", alpha: Alpha) -> str | None:
    """Why the picture's kind of pixels is refused, with the conversion to use."""
    if picture.mode.startswith("I") or picture.mode == "F" or _is_deep(picture):
        return f"has more than 8 bits a value ({picture.mode}): convert it, with ImageMagick: -depth 8"
    if alpha == "refuse" and has_alpha(picture) and _is_transparent(picture):
        return "is transparent: choose its background with --alpha white or --alpha black"
    return None


def _is_deep(picture: "Image") -> bool:
    """Whether a file has 16 bits a value of which Pillow keeps eight: the format that it reads says so."""
    for name, _, _, arguments in getattr(picture, "tile", ()):
        parts = arguments if isinstance(arguments, tuple) else (arguments,)
        if any(isinstance(part, str) and ";16" in part for part in parts):
            return True
        if name.startswith("ppm") and any(isinstance(part, int) and part > 255 for part in parts):
            return True
    return False


def has_alpha(picture: "Image") -> bool:
    """Whether any of its pixels may be transparent."""
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def _is_transparent(picture: "Image") -> bool:
    """Whether any of its pixels is; the picture is decoded for that."""
    return bool(np.asarray(picture.convert("RGBA").getchannel("A")).min() < 255)


def _is_colour(picture: "Image") -> bool:
    """Whether it has more than grey levels; of a palette that is asked of the colours in it."""
    if picture.mode in ("1", "L", "LA", "La") or picture.mode.startswith("I"):
        return False
    if picture.mode in ("P", "PA"):
        palette = np.asarray(picture.getpalette() or [0, 1, 2], np.uint8).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return True


def _upright(picture: "Image") -> tuple[int, int]:
    """(width, height) once the picture is turned as its camera says. Source: Exif 2.3, tag 0x0112."""
    width, height = picture.size
    return (height, width) if picture.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (width, height)


def choose_size(looks: Iterable[Look], where: object, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) that all pictures get. Raises ConfigError where they differ and none is asked for."""
    if wanted is not None:
        return wanted
    sizes = Counter(look.size for look in looks)
    if len(sizes) > 1:
        (small, _), (large, _) = min(sizes.items(), key=_area), max(sizes.items(), key=_area)
        usual = sizes.most_common(1)[0][0]
        raise ConfigError(
            f"{shown(str(where))}: pictures differ in size, from {_text(small)} to {_text(large)}, most often "
            f"{_text(usual)} (width x height): choose one size, such as --size 64, and --fit stretch if their "
            "borders must not be cut off."
        )
    return next(iter(sizes))


def decode(
    paths: Sequence[Path],
    into: Bytes,
    *,
    fit: Fit,
    alpha: Alpha,
    after: Heard,
) -> list[str | None]:
    """Write each picture into its row of `into` (n, height, width, channels); what is wrong with it, or None."""
    height, width, channels = into.shape[1:]

    def one(row: int) -> str | None:
        try:
            into[row] = picture_array(paths[row], size=(height, width), channels=channels, fit=fit, alpha=alpha)
        except (EdgerkdError, *_damage()) as e:
            return _said(e)
        return None

    return list(_side_by_side(one, range(len(paths)), after))


def picture_array(path: Path, *, size: tuple[int, int], channels: int, fit: Fit, alpha: Alpha) -> Bytes:
    """One picture as uint8 (height, width, channels), turned as its camera says, composed, resized. Raises DAMAGE."""
    from PIL import ImageOps

    pillow = _pillow()
    with open_file(path) as file, pillow.open(file) as picture:
        # A JPEG is decoded no larger than needed: no less than twice the size that it gets.
        picture.draft("RGB" if channels == 3 else "L", (2 * max(size), 2 * max(size)))
        image = ImageOps.exif_transpose(picture)
        if has_alpha(image) and alpha != "refuse":
            image = image.convert("RGBA")
            behind = pillow.new("RGBA", image.size, alpha)
            image = pillow.alpha_composite(behind, image)
        image = image.convert("RGB" if channels == 3 else "L")
        return np.asarray(fitted(image, size, fit)).reshape(*size, channels)


def fitted(image: "Image", size: tuple[int, int], fit: Fit) -> "Image":
    """The image in (height, width): by `crop` its shorter side is resized and the middle kept, by `stretch` both are.

    Resized by area-aware bilinear weights, as torchvision's Resize(antialias=True).
    """
    from PIL import Image

    height, width = size
    if image.size == (width, height):
        return image
    if fit == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    scale = max(width / image.width, height / image.height)
    wide, high = width / scale, height / scale
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    return image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high))


def bad_files(where: object, paths: Sequence[Path], problems: Sequence[str | None], request: DataRequest) -> list[int]:
    """The rows of files to go on without. Raises ConfigError, naming them, unless `--skip-bad` was said."""
    bad = [row for row, problem in enumerate(problems) if problem is not None]
    if bad and not request.skip_bad:
        named = [f"{shown(paths[row])}: {problems[row]}" for row in bad[:_SHOWN]]
        raise ConfigError(
            problems_text(f"{shown(str(where))}: pictures that cannot be used", named, of=len(bad))
            + "\nRepair or remove them, or leave them out with --skip-bad"
        )
    return bad


def _side_by_side(work: Callable[[Any], Any], items: Sequence[Any], after: Heard) -> Iterable[Any]:
    """The work on each item, in order; Pillow lets go of the interpreter while it decodes."""
    _pillow()
    with ThreadPoolExecutor(max(1, min(32, os.cpu_count() or 1))) as pool:
        try:
            for done, result in enumerate(pool.map(work, items, chunksize=16), start=1):
                if done % 64 == 0 or done == len(items):
                    after(done)
                yield result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _pillow() -> Any:  # Any: the module
    try:
        from PIL import Image
    except ImportError as e:
        raise MissingDependencyError(
            f"Pillow, which reads pictures, cannot be imported ({e}): pip install pillow"
        ) from e
    return Image


def _damage() -> tuple[type[Exception], ...]:
    """What reading a picture raises; Pillow refuses one of more than 179 million pixels."""
    return (*DAMAGE, _pillow().DecompressionBombError)


def _said(e: Exception) -> str:
    """A foreign library's words on one file, without the path, which stands before them."""
    text = str(e).partition("\n")[0]
    if "cannot identify image file" in text:
        return "is not a picture, or is damaged"
    return f"cannot be read: {text or type(e).__name__}"


def _area(item: tuple[tuple[int, int], int]) -> int:
    return item[0][0] * item[0][1]


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
