"""The command line in this process and in one of its own."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgerkd.cli import main


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    code: int
    out: str
    err: str


def in_process(arguments: tuple[object, ...], capsys: pytest.CaptureFixture[str]) -> Ended:
    """One command through the real `main`, whose signal handlers are put back."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgerkd", *map(str, arguments)])
        patch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as stop:
            main.main()
    captured = capsys.readouterr()
    return Ended(int(stop.value.code or 0), captured.out, captured.err)


QUICKLY = """
from edgerkd.jobs import export, transfer
export.DEFAULT = transfer.DEFAULT = "pgd"  # the host's attack, which is not the point
"""
ONE_BY_ONE = f"""
import json, sys
from edgerkd.cli import main
{QUICKLY}
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["edgerkd", *arguments]
    try:
        main.main()
    except SystemExit as stop:
        assert not stop.code, arguments
"""


def prepare(folder: Path, *commands: tuple[str, ...]) -> None:
    """Commands that a test rests on and does not ask about, in one process: each would import torch anew."""
    subprocess.run([sys.executable, "-c", ONE_BY_ONE, json.dumps(commands)], cwd=folder, check=True)


def export_quickly(folder: Path, *arguments: str) -> Ended:
    """`edgerkd export` in a process of its own, where the host attacks by PGD alone."""
    program = f"{QUICKLY}\nfrom edgerkd.__main__ import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program, "export", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


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
