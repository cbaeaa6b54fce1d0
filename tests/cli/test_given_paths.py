"""Every path that a command takes, against everything that may lie there."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from edgerkd.files.profiles import _named_files
from tests.bundles import write_small_bundle
from tests.command import in_process
from tests.runs import write_small_run

COMMANDS = {
    "verify": ["verify", "{path}"],
    "build": ["build", "{path}"],
    "report": ["report", "--run", "{path}"],
    "evaluate": ["evaluate", "--run", "{path}"],
    "evaluate against": ["evaluate", "--run", "{run}", "--against", "{path}"],
    "analyze": ["analyze", "variance-gap", "--run", "{path}"],
    "analyze with": ["analyze", "variance-gap", "--run", "{run}", "--with", "{path}"],
    "export": ["export", "--run", "{path}"],
    "resume": ["distill", "--resume", "--run", "{path}"],
    "data": ["distill", "--data", "{path}"],
    "data of a plan": ["plan", "--data", "{path}"],
    "data of a teacher": ["teacher", "train", "--data", "{path}"],
    "profile": ["distill", "--profile", "{path}"],
    "profile to check": ["profiles", "check", "{path}"],
    "teacher": ["plan", "--teacher", "{path}"],
    "weights": ["teacher", "import", "{path}"],
    "run": ["distill", "--run", "{path}"],
    "verdict": ["verify", "{bundle}", "--out", "{path}"],
    "page": ["report", "--run", "{run}", "--out", "{path}"],
}
"""By what the path is for: a command that takes one."""
MAKES = {"run", "verdict", "page"}
"""Those that make what is not there."""


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's address has room for about a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


def _circle(path: Path) -> None:
    path.symlink_to(path.with_name("back"))
    path.with_name("back").symlink_to(path)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "something").touch()


THERE = {
    "a named pipe": os.mkfifo,
    "a socket": _socket,
    "a circle of links": _circle,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a file of something else": lambda path: path.write_bytes(b"\x1b[2J not it"),
    "a folder of something else": _folder,
}
NAMES = {
    "nothing": "gone.toml",
    "below a file": "file/gone.toml",
    "too long": "x" * 300 + ".toml",
    "far too long": "x/" * 3000 + "y.toml",
    "not text": os.fsdecode(b"a\xffb.toml"),
    "an escape sequence": "a\x1b[2Jb.toml",
    "a line feed": "a\nerror: all is well.toml",
    "nobody's home": "~nobody-has-this-name/x.toml",
}


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("there")
    write_small_run(folder / "runs" / "mine")
    write_small_bundle(folder / "bundle")
    return {"run": folder / "runs" / "mine", "bundle": folder / "bundle"}


def attempt(purpose: str, path: str, there: dict[str, Path], folder: Path, capsys) -> None:
    given = [part.format(path=path, **there) for part in COMMANDS[purpose]]
    if purpose == "page":  # the report itself is quick; the run is copied, for it would get a page
        given[2] = str(shutil.copytree(there["run"], folder / "mine"))
    ended = in_process(tuple(given), capsys)
    assert ended.code in (3, 4, 5), (ended.code, ended.err[-2000:])
    assert "Traceback" not in ended.err
    assert "bug in edgerkd" not in ended.err
    assert "\x1b" not in ended.err
    assert "\nerror: all is well" not in ended.err
    assert ended.out == ""
    assert len(ended.err) < 4000


@pytest.mark.parametrize("make", THERE.values(), ids=THERE)
@pytest.mark.parametrize("purpose", COMMANDS)
def test_what_lies_there_is_refused_with_its_path(purpose, make, there, workdir, capsys):
    """Catches a wait at a pipe, a read of /dev/zero, a traceback, and a command that begins its work all the same."""
    path = workdir / "given.toml"
    make(path)
    if purpose in ("verdict", "page") and path.is_file() and not path.is_symlink():
        return  # a file may be replaced
    attempt(purpose, str(path), there, workdir, capsys)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("purpose", COMMANDS)
def test_what_is_no_path_is_refused(purpose, name, there, workdir, capsys):
    """Catches ENAMETOOLONG, surrogates and line feeds that reach the system, or the terminal."""
    (workdir / "file").touch()
    if purpose in MAKES and name == NAMES["nothing"]:
        return
    attempt(purpose, name, there, workdir, capsys)


def test_the_commands_of_these_tests_work_with_what_they_ask_for(there, workdir, capsys):
    """Catches a table in which everything is refused."""
    profile = shutil.copy(_named_files()["x86-cpu"], workdir / "x86-cpu.toml")
    assert in_process(("profiles", "check", profile), capsys).code == 0
    assert in_process(("report", "--run", there["run"], "--out", "page.html"), capsys).code == 0
    assert in_process(("verify", there["bundle"], "--out", "verdict.json"), capsys).code in (0, 1, 7)
    assert (workdir / "page.html").stat().st_size > 1000
