"""What the wheel holds."""

import tarfile
import zipfile
from pathlib import Path

from tests.packaging.conftest import REPOSITORY, hatch_build


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_holds_the_packages_and_the_profiles_alone(wheel: Path) -> None:
    """Catches a profile or a module left out, and tests or development files shipped."""
    names = {name for name in _contents(wheel) if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(root))
        for root, package in ((REPOSITORY, "edgerkd"), (REPOSITORY / "exporters", "edgerkd_exporters"))
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    profiles = {f"edgerkd/_profiles/{path.name}" for path in (REPOSITORY / "profiles").iterdir() if path.is_file()}
    assert profiles
    assert names == expected | profiles
    assert {"edgerkd/py.typed", "edgerkd_exporters/py.typed"} <= names


def test_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """Catches a file that the wheel needs and the sdist lacks."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert _contents(hatch_build("wheel", source, tmp_path / "built")) == _contents(wheel)
