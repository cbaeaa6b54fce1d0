"""Help texts of whole sentences: none is cut in a list of commands, and no type of Python's shows.

Typer by itself cuts long sentences there, and shows `<list[Path]>` and `0<=x<=9007199254740992` beside an option.
"""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# Any: the classes of contexts, formatters and parameters are click's or Typer's own, by Typer's version.


class PlainCommand(TyperCommand):
    """A command whose options show their metavar, their sentence and their default."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS]` and the arguments, optional ones in brackets."""
        return ["[OPTIONS]", *(_in_usage(p) for p in self.get_params(ctx) if p.param_type_name == "argument")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, below each other."""
        _write_parameters(self.get_params(ctx), formatter)


class PlainGroup(TyperGroup):
    """Commands under one name; the list of them shows the first sentence of each, whole."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Options, then commands."""
        _write_parameters(self.get_params(ctx), formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each command with its first sentence, wrapped to the width of the terminal."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_sentence(c.help or "")) for name, c in found if c and not c.hidden])


class ListingGroup(PlainGroup):
    """A group whose command `list` is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` first where the arguments name no command."""
        bare = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        return super().parse_args(ctx, ["list", *args] if bare and not ctx.resilient_parsing else args)


def command_group(name: str, help: str, *, cls: type[PlainGroup] = PlainGroup) -> typer.Typer:
    """An empty group of sub-commands; without a name it shows its help, unless `cls` knows better."""
    listing = cls is ListingGroup
    return typer.Typer(
        name=name,
        help=help,
        cls=cls,
        no_args_is_help=not listing,
        subcommand_metavar="[COMMAND]" if listing else "COMMAND",
        rich_markup_mode=None,
    )


def first_sentence(text: str) -> str:
    """The text as one line up to its first full stop before a space."""
    line = " ".join(text.split())
    return line.partition(". ")[0].removesuffix(".") + "." if line else ""


def _write_parameters(parameters: list[Any], formatter: Any) -> None:
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        rows = [(_names(p), _sentences(p)) for p in parameters if p.param_type_name == kind and not p.hidden]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _in_usage(argument: Any) -> str:
    word = argument.metavar or argument.name.upper()
    return word if argument.required else f"[{word}]"


def _names(parameter: Any) -> str:
    """`--run FOLDER`, `--flip / --no-flip`, or an argument's `BUNDLE`."""
    if parameter.param_type_name == "argument":
        return parameter.metavar or parameter.name.upper()
    names = " / ".join((", ".join(parameter.opts), *parameter.secondary_opts))
    return names if parameter.is_flag or not parameter.metavar else f"{names} {parameter.metavar}"


def _sentences(parameter: Any) -> str:
    """What the parameter is, and its default where that is a plain value."""
    flag = parameter.param_type_name == "option" and parameter.is_flag
    plain = isinstance(parameter.default, str | int) and not flag
    return f"{parameter.help or ''}  Default: {parameter.default}." if plain else parameter.help or ""
