"""docs/sources.md: where formulas and constants come from."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("edgerkd/distill/losses", "edgerkd/distill/methods", "edgerkd/attacks")


def _rows() -> dict[str, str]:
    """By each file named in a row's first column, what its rows say of it."""
    rows: dict[str, str] = {}
    names: list[str] = []
    for line in (REPOSITORY / "docs" / "sources.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            names = re.findall(r"`([\w/]+\.py)`", first) if first else names
            for name in names:
                rows[name] = rows.get(name, "") + " ".join(rest)
    return rows


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_loss_method_and_attack_names_its_source(folder: str) -> None:
    """Catches a formula that came from nowhere."""
    files = [path for path in (REPOSITORY / folder).glob("*.py") if path.name != "__init__.py"]
    assert files
    missing = [name for path in files if len(_rows().get(name := str(path.relative_to(REPOSITORY)), "")) < 20]
    assert missing == []
