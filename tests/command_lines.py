"""edgerkd's command lines, parsed as the program would parse them and not run."""

import shlex
from typing import Any

import typer
from typer.main import get_command

from edgerkd.cli.app import app

APP: Any = get_command(app)  # Any: typer has click inside, or beside it, by version
UsageError: Any = typer.BadParameter.__base__


def parse(line: str) -> None:
    """Parse what follows `edgerkd`. Raises click's UsageError."""
    command, name, arguments, context = APP, "edgerkd", shlex.split(line), None
    while True:
        context = command.make_context(name, arguments, parent=context)
        if not hasattr(command, "commands"):
            return
        # click parses the name of a sub-command as the first of what is left
        name, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])


def all_flags() -> set[str]:
    """Every flag of every command."""

    def of(command: Any) -> set[str]:
        own = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        return own.union(*(of(each) for each in getattr(command, "commands", {}).values()))

    return {"--help"} | of(APP)
