"""A Debian for arm64 with Python in it, and an emulator that runs it: unpacked below a folder, nothing is installed.

Both come from where this machine's apt takes its packages, checked by apt against the archive's signature. The emulator
runs programs, not a system, so that the packages need only be unpacked.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgerkd.files.atomic import folder_atomic, write_atomic

_EMULATOR = "qemu-user-static"
_WANTED = ("python3", "libstdc++6")


class UnavailableError(Exception):
    """apt, or the emulator, is not to be had on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm64:
    """The root of an emulated system. `python` runs its interpreter here, and so do the processes that this starts."""

    root: Path
    python: Path
    version: str


def arm64(folder: Path) -> Arm64:
    """The emulator and its root below `folder`, where they are kept.

    Raises UnavailableError where apt cannot fetch the emulator, CalledProcessError where anything else fails.
    """
    emulator, root = folder / "qemu-aarch64-static", folder / "root"
    if not (emulator.exists() and root.exists()):
        with _apt(folder / "apt") as apt:
            if not emulator.exists():
                apt.download(_EMULATOR)
                unpack(apt.folder.glob("*.deb"), apt.folder / "unpacked")
                (apt.folder / "unpacked/usr/bin" / emulator.name).rename(emulator)
            if not root.exists():
                apt.download_all(_WANTED)
                with folder_atomic(root) as new:
                    unpack((apt.folder / "cache/archives").glob("*.deb"), new)
    interpreter = next(path for path in (root / "usr/bin").glob("python3.*") if path.name[8:].isdigit())
    python = interpreter.with_name("emulated-python")
    write_atomic(python, f'#!/bin/sh\nexec {emulator} -cpu max -L {root} -0 "$0" {interpreter} "$@"\n')
    python.chmod(0o755)
    return Arm64(root=root, python=python, version=interpreter.name.removeprefix("python"))


def unpack(packages: Iterable[Path], into: Path) -> None:
    """The files of Debian's packages, without running anything that these hold."""
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", str(package), str(into)], check=True)


@contextmanager
def _apt(folder: Path) -> Iterator["_Apt"]:
    """This machine's apt and its sources, with fresh lists below a folder of our own, which is removed in the end.

    Raises UnavailableError.
    """
    if shutil.which("apt-get") is None:
        raise UnavailableError("there is no apt-get on this machine")
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()  # what apt believes to be installed: nothing
    try:
        apt = _Apt(folder)
        apt.update()
        yield apt
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Apt:
    """apt-get for this machine's packages and arm64's, without being root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        asked = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True)
        self._here = asked.stdout.strip()

    def update(self) -> None:
        """Raises UnavailableError."""
        self._offered("update", what="the lists of packages")

    def download(self, package: str) -> None:
        """This machine's package of that name. Raises UnavailableError."""
        self._offered("download", f"{package}:{self._here}", what=package)

    def download_all(self, packages: tuple[str, ...]) -> None:
        """arm64's packages of these names and all that they depend on. Raises CalledProcessError."""
        done = self._run("install", "--download-only", "--yes", "--no-install-recommends", *packages)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
        done.check_returncode()

    def _offered(self, *arguments: str, what: str) -> None:
        done = self._run(*arguments)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise UnavailableError(f"apt-get cannot fetch {what}: {last}")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        own = self.folder
        options = [f"Dir::State={own}/state", f"Dir::State::status={own}/status", f"Dir::Cache={own}/cache"]
        options += ["APT::Architecture=arm64", "APT::Architectures::=arm64", f"APT::Architectures::={self._here}"]
        options += ["APT::Sandbox::User=root", "APT::Update::Error-Mode=any", "Acquire::Languages=none"]
        options += ["Acquire::Retries=3", "Debug::NoLocking=1"]
        command = ["apt-get", "-qq", *(word for option in options for word in ("-o", option)), *arguments]
        return subprocess.run(
            command,
            cwd=own,
            env={**os.environ, "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
