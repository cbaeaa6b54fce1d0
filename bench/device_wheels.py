"""Wheels for another Python and another processor than this machine's, as requirements/device.txt pins them."""

import hashlib
import re
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgerkd.files.atomic import folder_atomic

REPOSITORY = Path(__file__).parents[1]
BUILD = REPOSITORY / "build"
_SYSTEMS = ("manylinux_2_28", "manylinux_2_27", "manylinux2014", "manylinux_2_17")


def linux(python: str, processor: str) -> dict[str, str]:
    """What markers ask of a Linux machine, apart from extras."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": processor,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }


def pins(python: str, processor: str) -> tuple[str, ...]:
    """`NAME==VERSION HASHES`, the lines of requirements/device.txt that hold on such a machine, without markers."""
    text = (REPOSITORY / "requirements" / "device.txt").read_text()
    found: list[str] = []
    for block in re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]:
        requirement = Requirement(block.partition("\\")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(linux(python, processor)):
            hashes = re.findall(r"--hash=\S+", block)
            found.append(" ".join([f"{requirement.name}{requirement.specifier}", *hashes]))
    return tuple(found)


def pinned_wheels(lines: tuple[str, ...], *, python: str, processor: str) -> list[Path]:
    """The wheels of such lines, downloaded once and checked against their hashes.

    `python` is the interpreter that they are for, whichever the lines were chosen for.
    """
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    folder = BUILD / "wheels" / f"cp{python.replace('.', '')}-{processor}-{digest}"
    if not folder.is_dir():
        with folder_atomic(folder) as new:
            asked = new / "pins.txt"
            asked.write_text("\n".join(lines))
            flags = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp"]
            flags += [f"--python-version={python}", f"--abi=cp{python.replace('.', '')}", "--abi=abi3", "--abi=none"]
            flags += [f"--platform={system}_{processor}" for system in _SYSTEMS]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, *flags, f"--dest={new}", f"--requirement={asked}"], check=True)
    return sorted(folder.glob("*.whl"))


def own_wheel() -> Path:
    """edgerkd's wheel, built of this tree."""
    with folder_atomic(BUILD / "wheels" / "edgerkd") as new:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(new)]
        subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = (BUILD / "wheels" / "edgerkd").iterdir()
    return wheel


def wheel_name(wheel: Path) -> str:
    """The distribution's name, as others require it."""
    return canonicalize_name(wheel.name.partition("-")[0])


def requirements_of(wheel: Path) -> list[Requirement]:
    """What the wheel's metadata require."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        lines = message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []
    return [Requirement(line) for line in lines]
