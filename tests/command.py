"""The command line in this process and in one of its own."""

import io
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edgerkd.cli import main


class Ended(NamedTuple):
    """How one command ended."""

    code: int
    out: str
    err: str


def in_process(arguments: tuple[object, ...], capsys: pytest.CaptureFixture[str]) -> Ended:
    """One command through the real `main`, whose signal handlers are put back."""
    capsys.readouterr()
    code = _main(arguments)
    captured = capsys.readouterr()
    return Ended(code, captured.out, captured.err)


def in_folder(folder: Path, *arguments: object) -> Ended:
    """The same from `folder`, for a fixture that outlives a test: torch need not be imported anew."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        code = _main(arguments)
    out, err = (bytes(stream.buffer.getvalue()).decode() for stream in streams)  # type: ignore[attr-defined]  BytesIO's
    return Ended(code, out, err)


def _main(arguments: tuple[object, ...]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgerkd", *map(str, arguments)])
        patch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as stop:
            main.main()
    return int(stop.value.code or 0)


@contextmanager
def _host_attacks_by_pgd() -> Generator[None]:
    """What `export` attacks with is not the point."""
    from edgerkd.jobs import export, transfer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "DEFAULT", "pgd")
        patch.setattr(transfer, "DEFAULT", "pgd")
        yield


def prepare(folder: Path, *commands: tuple[str, ...]) -> None:
    """Commands that a test rests on and does not ask about, as quick as they can be."""
    from edgerkd.jobs import distill, teachers

    with _host_attacks_by_pgd(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill, "TEST_IMAGES", 50)  # for figures that nobody looks at
        patch.setattr(teachers, "train_teacher", partial(teachers.train_teacher, attack_steps=3))  # as the demo does
        for arguments in commands:
            ended = in_folder(folder, *arguments)
            assert not ended.code, (arguments, ended.err)


def export_quickly(folder: Path, *arguments: str) -> Ended:
    """`edgerkd export`, where the host attacks by PGD alone."""
    with _host_attacks_by_pgd():
        return in_folder(folder, "export", *arguments)


def process(folder: Path, *arguments: str, **options: Any) -> Ended:
    """One command in a process of its own, from `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "edgerkd", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
