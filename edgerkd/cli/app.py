"""The command line: which commands there are.

A command's file imports nothing heavy at its top, so that `edgerkd --help` stays quick. How each failure ends is in
edgerkd/cli/main.py.
"""

from typing import Annotated, Any

import typer

from edgerkd import __version__
from edgerkd.cli.analyze import analyze
from edgerkd.cli.build import build
from edgerkd.cli.bundle import bundle
from edgerkd.cli.demo import demo
from edgerkd.cli.distill import distill
from edgerkd.cli.doctor import doctor
from edgerkd.cli.evaluate import evaluate
from edgerkd.cli.export import export
from edgerkd.cli.help import PlainCommand, PlainGroup
from edgerkd.cli.output import put_line
from edgerkd.cli.plan import plan
from edgerkd.cli.profiles import profiles
from edgerkd.cli.report import report
from edgerkd.cli.teacher import teacher
from edgerkd.cli.verify import verify

COMMANDS = (demo, profiles, doctor, teacher, plan, distill, evaluate, analyze, export, bundle, build, verify, report)
"""In the order of the list in `edgerkd --help`; a `typer.Typer` has commands of its own."""


class _Edgerkd(PlainGroup):
    def list_commands(self, ctx: Any) -> list[str]:  # Any: click's class or Typer's own, by Typer's version
        return [str(each.info.name) if isinstance(each, typer.Typer) else each.__name__ for each in COMMANDS]


# Plain help text: rich would more than double the time that `--help` takes.
app = typer.Typer(
    cls=_Edgerkd,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    subcommand_metavar="COMMAND",
)
for command in COMMANDS:
    if isinstance(command, typer.Typer):
        app.add_typer(command)
    else:
        app.command(cls=PlainCommand)(command)


def _version(shown: bool) -> None:
    if shown:
        put_line(f"edgerkd {__version__}")
        raise typer.Exit


@app.callback()
def edgerkd(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Robust students for edge devices: distilled under a device's budget, exported, attacked on the device itself."""
