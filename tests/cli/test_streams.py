"""Streams and signals: exit code 1 is `verify: fail` and nothing else, and no result is lost with its reader."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bundles import report_on, write_small_bundle
from tests.command import process

EDGERKD = [sys.executable, "-m", "edgerkd"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    write_small_bundle(folder)
    return folder


@pytest.fixture
def carried(bundle, tmp_path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def closed_pipe() -> int:
    """The end to write to of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def run(arguments: list[str], *, stdout: int, folder: Path, before=None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [*EDGERKD, *arguments],
            cwd=folder,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=before,
        )
    finally:
        os.close(stdout)


COMMANDS = {
    "a table": ["profiles", "list"],
    "a document": ["profiles", "list", "--json"],
    "one line": ["profiles", "check", "jetson-orin"],
    "the version": ["--version"],
    "the help": ["--help"],
    "a command's help": ["verify", "--help"],
    "an examination": ["doctor"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("end", [closed_pipe, full_disk], ids=["closed pipe", "full disk"])
def test_output_that_nobody_gets_exits_4(end, arguments, tmp_path):
    """Catches click's own exit code 1 for a closed pipe, Python's 120 for a full disk, and a traceback."""
    done = run(arguments, stdout=end(), folder=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("json_flag", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("end", [closed_pipe, full_disk], ids=["closed pipe", "full disk"])
def test_a_verdict_that_cannot_be_shown_is_kept_and_exits_4(end, json_flag, carried):
    """Catches a verdict's exit code for output that was lost, and evidence lost with it."""
    done = run(["verify", str(carried), *json_flag], stdout=end(), folder=carried.parent)
    assert done.returncode == 4, done.stderr
    assert "Standard output cannot be written" in done.stderr
    assert json.loads(report_on(carried).read_text())["verdict"] in ("pass", "fail", "inconclusive")


@pytest.mark.slow
def test_a_verdict_that_cannot_be_kept_is_shown(carried):
    """Catches a device whose storage is read-only, on which there would be no verdict at all."""
    report_on(carried).mkdir()
    (carried.parent / "engines").touch()  # no folder can be made there
    ended = process(carried.parent, "verify", str(carried), "--json")
    assert ended.code in (0, 1, 7), ended.err
    assert json.loads(ended.out)["verdict"] in ("pass", "fail", "inconclusive")
    assert "will be shown and not kept" in ended.err
    assert f"{report_on(carried).name}: cannot be written" in ended.err
    assert sorted(path.name for path in carried.parent.iterdir()) == ["bundle", "engines", report_on(carried).name]
    ended = process(carried.parent, "verify", str(carried), "--json", "--out", "elsewhere.json")
    assert ended.code in (0, 1, 7)
    assert json.loads(ended.out) == json.loads((carried.parent / "elsewhere.json").read_text())


def test_a_report_that_was_asked_for_has_its_place_before_the_work(carried):
    """Catches minutes of attacks for a report that nobody gets."""
    ended = process(carried.parent, "verify", str(carried), "--json", "--out", str(carried))
    assert (ended.code, ended.out) == (4, "")
    assert "cannot be written" in ended.err


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_descriptor_that_was_closed_before_is_no_file_of_ours(number, carried):
    """Catches a weight file that is opened as descriptor 1 and written into, and a crash without stderr."""
    read, write = os.pipe()
    done = run(["verify", str(carried)], stdout=write, folder=carried.parent, before=lambda: os.close(number))
    os.close(read)
    listed = json.loads((carried / "manifest.json").read_text())["files"]
    assert all((carried / name).stat().st_size == entry["size"] for name, entry in listed.items())
    assert done.returncode == 4 if number == 1 else done.returncode in (0, 1, 7), done.stderr
    assert report_on(carried).exists()


def test_text_that_a_terminal_cannot_show_is_escaped(tmp_path):
    """Catches a table's lines that end as a bug where the terminal is ASCII."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ended = process(tmp_path, "profiles", "list", env=environment)
    assert ended.code == 0
    assert ended.out.isascii()


NOISY = """
import os
from edgerkd.__main__ import main
from edgerkd.files import decode

def noisy(record, encode=decode.encode_json):
    os.write(1, b"as a library in C prints")
    return encode(record)
decode.encode_json = noisy
main()
"""


def test_what_a_library_prints_by_itself_is_not_in_the_document(tmp_path):
    """Catches a line of a runtime's before the JSON, with which nobody's parser reads it."""
    done = subprocess.run(
        [sys.executable, "-c", NOISY, "profiles", "list", "--json"], cwd=tmp_path, capture_output=True, check=True
    )
    assert json.loads(done.stdout)
    assert b"as a library in C prints" in done.stderr


FAKE = """
import os, signal, time
os.kill(os.getpid(), signal.{number})
time.sleep(30)
"""


@pytest.mark.parametrize("module", ["typer", "edgerkd.cli.main"])
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_modules_are_imported_is_no_traceback(number, code, module, tmp_path):
    """Catches what most see who change their mind at once: ten lines of somebody's import."""
    if module == "typer":
        (tmp_path / "typer.py").write_text(FAKE.format(number=number))
        program = "from edgerkd.__main__ import main; main()"
    else:
        stop = f"lambda: os.kill(os.getpid(), signal.{number})"
        program = f"import signal, os; from edgerkd.cli import main as m; m._run = {stop}; m.main()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("interrupted" if code == 130 else "terminated")


SLOW = """
import time
from pathlib import Path
from edgerkd.__main__ import main
from edgerkd.verify.isolated import IsolatedEngine

def slow(*given):
    Path("attacked").touch()
    time.sleep(30)
IsolatedEngine.timing = slow
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_verify_leaves_no_verdict_and_nothing_half_written(number, code, carried):
    """Catches SIGTERM that leaves more than an interrupt does, and an exit code that reads like a verdict."""
    job = subprocess.Popen(
        [sys.executable, "-c", SLOW, "verify", str(carried)],
        cwd=carried.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (carried.parent / "attacked").exists():
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(number)
    out, err = job.communicate(timeout=20)
    assert job.returncode == code
    assert out == ""
    assert "what was finished is kept" in err
    assert sorted(p.name for p in carried.parent.iterdir()) == ["attacked", "bundle", "engines"]


@pytest.fixture
def home(tmp_path) -> Path:
    """A customer's: ONNX Runtime writes nothing where variables such as CI or GITHUB_ACTIONS tell of a test machine."""
    home = tmp_path / "home"
    home.mkdir()
    return home


def bare(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}


@pytest.mark.slow
def test_nothing_is_written_for_the_makers_of_onnx_runtime(carried, home):
    """Catches a device id and a queue of events in the home of a customer's device."""
    environment = bare(home)
    assert process(carried.parent, "verify", str(carried), env=environment).code in (0, 1, 7)
    assert process(carried.parent, "doctor", env=environment).code == 0
    own = home / ".config" / "edgerkd"  # the user's key
    assert {path for path in home.rglob("*") if own not in (path, *path.parents)} <= {own.parent}


def test_the_telemetry_test_would_notice(home):
    """Catches a test that looks in the wrong place: without the switch this version writes there."""
    program = (
        "import os, sys; os.environ.pop('ORT_DISABLE_TELEMETRY', None); import onnxruntime as ort, numpy as np;"
        "from edgerkd_exporters.onnx import _IDENTITY; os.environ.pop('ORT_DISABLE_TELEMETRY', None);"
        "ort.InferenceSession(_IDENTITY, providers=['CPUExecutionProvider'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=bare(home), check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in home.rglob("*") if path.is_file()]
