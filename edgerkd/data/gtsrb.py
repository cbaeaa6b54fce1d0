"""The German traffic signs as torchvision keeps them: training pictures by class, test pictures by a table."""

import csv
import io
from pathlib import Path

from edgerkd.core.errors import ConfigError
from edgerkd.data.folder import Found, find_pictures
from edgerkd.files.damage import DAMAGE
from edgerkd.files.paths import read_file, shown

_TRAINING, _TEST, _TABLE = "gtsrb/GTSRB/Training", "gtsrb/GTSRB/Final_Test/Images", "gtsrb/GT-final_test.csv"
_MOST = 16 << 20  # bytes of the table; the real one has 300 kB


def is_gtsrb(root: Path) -> bool:
    """Whether torchvision's GTSRB lies in `root`."""
    return (root / _TRAINING).is_dir()


def find_gtsrb(root: Path) -> Found:
    """Its pictures by split and class; the classes are called after the folders of training, 00000 to 00042.

    Source: torchvision.datasets.GTSRB. Raises ConfigError for a table that is damaged, or names a picture or a class
    that is not there.
    """
    found = find_pictures(root / _TRAINING)
    classes, table = found.splits.get("all"), root / _TABLE
    if classes is None:
        there = ", ".join(found.splits)
        raise ConfigError(f"{shown(root / _TRAINING)}: expected folders 00000 to 00042 there, not splits ({there}).")
    number = {int(name): name for name in classes if name.isdecimal()}
    test: dict[str, list[Path]] = {name: [] for name in classes}
    for line, (picture, label) in enumerate(_rows(table), start=2):
        path = root / _TEST / Path(picture).name
        problem = None
        if not path.is_file():
            problem = f"{shown(path)} is not there"
        elif label not in number:
            problem = f"class {label} has no training pictures"
        if problem is not None:
            raise ConfigError(f"{shown(table)}, line {line}: {problem}. Download GTSRB again.")
        test[number[label]].append(path)
    return Found(splits={"train": classes, "test": test}, notes=found.notes)


def _rows(table: Path) -> list[tuple[str, int]]:
    """Name and class of each test picture."""
    content = read_file(table, limit=_MOST)
    try:
        rows = csv.DictReader(io.StringIO(content.decode()), delimiter=";", strict=True)
        return [(row["Filename"], int(row["ClassId"])) for row in rows]
    except (*DAMAGE, csv.Error) as e:
        raise ConfigError(
            f"{shown(table)}: damaged, or not the table of GTSRB, which has columns Filename and ClassId, separated by "
            f"semicolons ({type(e).__name__}: {e}): download it again."
        ) from e
