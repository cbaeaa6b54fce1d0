"""How the command line starts and how each failure ends."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
import typer

import edgerkd
from edgerkd.cli import app as cli
from edgerkd.cli import main, output, packages
from edgerkd.cli.output import emit_json, progress, show_parts
from edgerkd.core import errors
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.report.text_table import Table

HEAVY = {"torch", "numpy", "pydantic", "rich", "onnx", "onnxruntime", "tensorrt"}


def main_of(command: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `main` where the command line does `command`."""
    monkeypatch.setattr(cli, "app", command)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its own handlers
    with pytest.raises(SystemExit) as stop:
        main.main()
    return stop.value.code


def typer_app(command: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The real Typer road to one command without arguments."""
    monkeypatch.setattr(sys, "argv", ["edgerkd"])
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    return app


def raiser(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def test_help_imports_nothing_heavy_and_lists_the_commands():
    """Catches a command file that imports numpy, torch or rich at its top."""
    code = (
        "import sys\nfrom edgerkd.__main__ import main\nsys.argv = ['edgerkd', '--help']\n"
        "try: main()\nexcept SystemExit as e: assert not e.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stderr.split()) == set()
    assert re.search(r"^ +profiles +\S", done.stdout, re.MULTILINE)
    assert re.search(r"^ +doctor +\S", done.stdout, re.MULTILINE)


def test_python_m_edgerkd_says_the_version():
    """Catches a broken __main__.py, and a version that is written twice."""
    done = subprocess.run([sys.executable, "-m", "edgerkd", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"edgerkd {edgerkd.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("bad key"), 3),
        (errors.UnknownNameError("profile", "orn", ["orin"]), 3),
        (errors.MissingDependencyError("not here"), 4),
        (errors.ArtefactError("damaged"), 5),
        (errors.ParityError("differs"), 6),
        (errors.StorageError("no room"), 4),
    ],
)
def test_a_known_failure_is_one_message_and_its_code(error, code, monkeypatch, capsys):
    """Catches a lost message, a traceback shown to a user, output on stdout, and a wrong code."""
    assert main_of(typer_app(raiser(error), monkeypatch), monkeypatch) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: {error}\n")


def test_a_missing_host_package_names_the_line_that_installs_it(monkeypatch, capsys):
    """Catches a traceback on a device, where torch is missing on purpose."""
    monkeypatch.setattr(packages, "_is_there", lambda package: False)
    error = ModuleNotFoundError("No module named 'sklearn.cluster'", name="sklearn.cluster")
    assert main_of(typer_app(raiser(error), monkeypatch), monkeypatch) == 4
    err = capsys.readouterr().err
    assert "sklearn" in err
    assert "pip install 'edgerkd[host]'" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), ModuleNotFoundError("no edgerkd.x", name="edgerkd.x")])
def test_a_bug_shows_its_traceback(error, monkeypatch, capsys):
    """Catches a `main` that hides our own mistakes, or takes our missing module for the user's."""
    assert main_of(typer_app(raiser(error), monkeypatch), monkeypatch) == 70
    err = capsys.readouterr().err
    assert f"{type(error).__name__}: {error}" in err
    assert "bug in edgerkd" in err


@pytest.mark.parametrize("through_typer", [True, False])
def test_an_interrupt_says_so_and_exits_130(through_typer, monkeypatch, capsys):
    """Catches Typer's silent exit, and an interrupt before or after Typer."""
    command = raiser(KeyboardInterrupt())
    app = typer_app(command, monkeypatch) if through_typer else command
    assert main_of(app, monkeypatch) == 128 + signal.SIGINT
    assert capsys.readouterr().err.startswith("interrupted; ")


@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_whose_exception_python_drops_comes_again(number, said):
    """Catches a Ctrl-C in a weak reference's callback, after which training goes on."""

    code = """
import signal, threading, weakref
from edgerkd.cli import app, main

class Thing:
    pass

def command():
    thing = Thing()
    kept = weakref.ref(thing, lambda gone: signal.raise_signal(NUMBER))
    del thing
    threading.Event().wait(20)
    raise AssertionError("still running")

app.app = command
main.main()
"""
    run = [sys.executable, "-c", code.replace("NUMBER", str(int(number)))]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split(";")[0]) == (128 + number, said)


def test_other_exit_codes_pass_through(monkeypatch, capsys):
    """Catches a `main` that turns `verify`'s 7 into anything else."""
    assert main_of(typer_app(raiser(typer.Exit(7)), monkeypatch), monkeypatch) == 7
    assert capsys.readouterr().err == ""


def test_an_unknown_command_is_a_usage_error(monkeypatch, capsys):
    """Catches usage errors that end as bugs (70) or bad input (3)."""
    monkeypatch.setattr(sys, "argv", ["edgerkd", "nonsense"])
    assert main_of(cli.app, monkeypatch) == 2
    assert "nonsense" in capsys.readouterr().err


def test_json_is_one_document(capsys):
    """Catches a second document, and fields that are lost on the way."""
    emit_json(accuracy_from_correct([1, 1, 0, 1]))
    assert json.loads(capsys.readouterr().out)["value"] == 0.75


@pytest.mark.parametrize("columns", [None, 60, 140])
def test_a_table_fits_the_columns_there_are(columns, monkeypatch, capsys):
    """Catches a table of a fixed width, one that is cut, escape codes in a file, and `[red]` taken for markup."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "__stdout__", None)  # as where no terminal is
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    show_parts(Table(("name", "what"), (("[red]a", "word " * 60),)), "", "the end")
    out = capsys.readouterr().out
    table, end = out.split("\n\n")
    assert max(map(len, table.splitlines())) in range((columns or 100) - 4, (columns or 100) + 1)
    assert out.count("word") == 60
    assert "[red]a" in out
    assert "\x1b" not in out
    assert end == "the end\n"


def test_progress_in_a_pipe_is_lines_alone(capsys):
    """Catches bars in a log file, and epochs that a log does not show."""
    with progress() as shown, shown.stage("work", 2) as advance:
        advance(1, "half")
        shown.say("data: 5 images")
        shown.log("epoch 1/2")
        advance(2, "all")
    assert capsys.readouterr() == ("", "data: 5 images\nepoch 1/2\n")


def test_a_long_stage_is_told_of_where_there_are_no_bars(monkeypatch, capsys):
    """Catches minutes of silence in a log, a line for each step, and one on the heels of another."""
    clock = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: clock[0])
    with progress() as shown, shown.stage("verify on onnx", 2000) as advance:
        for clock[0], done in ((59.0, 100), (60.0, 500), (61.0, 600)):
            advance(done, "apgd-ce")
        clock[0] = 100.0
        shown.say("a line")
        for clock[0], done in ((159.0, 1000), (160.0, 1600)):
            advance(done, "")
    with progress() as shown, shown.stage("gradient twin", 0) as advance:
        clock[0] = 300.0
        advance(3, "")
    expected = [
        "verify on onnx: 500 of 2,000, apgd-ce, 60 s, about 180 s left",
        "a line",
        "verify on onnx: 1,600 of 2,000, 160 s, about 40 s left",
        "gradient twin: 3, 140 s",
    ]
    assert capsys.readouterr() == ("", "\n".join([*expected, ""]))


def test_progress_shows_the_stage_and_the_time_left_on_a_terminal_only_on_stderr(monkeypatch, capsys):
    """Catches bars on stdout, where the JSON goes, and words read as markup."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as shown, shown.stage("distil", 2) as advance:
        advance(1, "loss [b]0.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert "distil: loss [b]0.5" in err
    assert "1/2" in err
