"""The command line: which commands there are, and how each failure ends.

A command's file imports nothing heavy at its top, so that `edgerkd --help` stays quick.
"""

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from edgerkd import __version__
from edgerkd.cli.analyze import analyze
from edgerkd.cli.build import build
from edgerkd.cli.demo import demo
from edgerkd.cli.distill import distill
from edgerkd.cli.doctor import doctor
from edgerkd.cli.evaluate import evaluate
from edgerkd.cli.export import export
from edgerkd.cli.plan import plan
from edgerkd.cli.profiles import profiles
from edgerkd.cli.report import report
from edgerkd.cli.teacher import teacher
from edgerkd.cli.verify import verify
from edgerkd.core.errors import EdgerkdError

COMMANDS = (demo, profiles, doctor, teacher, plan, distill, evaluate, analyze, export, build, verify, report)

# Plain help text: rich would more than double the time that `--help` takes.
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
for command in COMMANDS:
    app.command()(command)


def _version(expected: bool) -> None:
    if expected:
        typer.echo(f"edgerkd {__version__}")
        raise typer.Exit


@app.callback()
def edgerkd(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Robust students for edge devices: distilled under a device's budget, exported, proved robust on the device."""


def main() -> None:
    """Run the command line. A failure is one message on stderr and an exit code of core/errors.py."""
    try:
        app()
    except EdgerkdError as e:
        _stop(f"error: {e}", e.exit_code)
    except (KeyboardInterrupt, SystemExit) as e:
        # Typer turns an interrupt within a command into SystemExit(130), without a word.
        if isinstance(e, SystemExit) and e.code != 130:
            raise
        _stop("interrupted; what was finished is kept", 130)
    except ModuleNotFoundError as e:
        from edgerkd.verify.doctor import HOST_PACKAGES

        missing = (e.name or "").partition(".")[0]
        if missing not in HOST_PACKAGES:
            _stop_bug()
        _stop(f"error: this needs {missing}, which is not installed: pip install 'edgerkd[host]'", 4)
    except Exception:  # noqa: BLE001  the last stop: whatever is left is our bug
        _stop_bug()


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(code)


def _stop_bug() -> NoReturn:
    traceback.print_exc()
    _stop("error: this is a bug in edgerkd; please report it with the lines above", EdgerkdError.exit_code)
