"""The help of every command and sub-command."""

import re
from typing import Any

import pytest
from typer.main import get_command

from edgerkd.cli.app import app
from edgerkd.cli.help import first_sentence

APP = get_command(app)


def walk(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command below `command`, by the words that are typed for it."""
    found = {path: command}
    for name, each in getattr(command, "commands", {}).items():
        found |= walk(each, (*path, name))
    return found


COMMANDS = walk(APP)
LEAVES = {path: command for path, command in COMMANDS.items() if not hasattr(command, "commands")}


def named(path: tuple[str, ...]) -> str:
    return " ".join(path) or "edgerkd"


@pytest.fixture
def help_of(edgerkd, monkeypatch):
    """What `edgerkd PATH --help` prints at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def text(path: tuple[str, ...]) -> str:
        ended = edgerkd(*path, "--help")
        assert (ended.code, ended.err) == (0, "")
        return ended.out

    return text


def test_the_walk_finds_commands_of_every_depth():
    """Catches a walk that stops at the first level, which would let the tests below pass."""
    for path in [("verify",), ("teacher", "import"), ("profiles", "show"), ("analyze", "variance-gap")]:
        assert path in LEAVES


@pytest.mark.parametrize("path", COMMANDS, ids=named)
def test_help_shows_no_type_and_cuts_nothing(path, help_of):
    """Catches `<list[Path]>`, `{what}`, `INTEGER RANGE`, `0<=x`, a sentence that ends in `...`, and lines too long."""
    text = help_of(path)
    for leak in ("<", "{", "list[", "Path]", "INTEGER", "...", "None", "default:", "required]"):
        assert leak not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("path", COMMANDS, ids=named)
def test_help_is_whole_sentences(path):
    """Catches a help text that is missing, or no sentence: a small letter first, or no full stop."""
    command = COMMANDS[path]
    texts = {"the command": command.help} | {p.name: p.help for p in command.params if not getattr(p, "hidden", False)}
    for name, text in texts.items():
        assert text, name
        assert text.strip().endswith("."), f"{name}: {text}"
        assert re.match("[A-Z]", text), f"{name}: {text}"


@pytest.mark.parametrize("path", LEAVES, ids=named)
def test_each_value_has_a_word_for_what_it_is(path):
    """Catches an option whose value shows as nothing, and an argument named like a variable."""
    for parameter in LEAVES[path].params:
        if parameter.param_type_name == "argument" or not parameter.is_flag:
            assert re.fullmatch(r"[A-Z]+([=:| ][A-Z]+)?", parameter.metavar or ""), parameter.name


@pytest.mark.parametrize("path", [path for path in COMMANDS if path not in LEAVES], ids=named)
def test_a_list_of_commands_has_the_first_sentence_of_each(path, help_of):
    """Catches a command that is not listed, and a sentence that was cut."""
    listed = " ".join(help_of(path).partition("Commands:\n")[2].split())
    for name, command in COMMANDS[path].commands.items():
        assert f"{name} {first_sentence(command.help)}" in listed


@pytest.mark.parametrize("path", LEAVES, ids=named)
def test_every_command_takes_json(path):
    """Catches a new command that cannot be read by a program."""
    assert "--json" in [name for parameter in LEAVES[path].params for name in parameter.opts]


@pytest.mark.parametrize(
    ("path", "foreign"),
    [
        (("teacher", "list"), {"--data", "--eps", "--name", "--method", "--sha256"}),
        (("teacher", "train"), {"--sha256", "-n", "--accept-fragile"}),
        (("teacher", "import"), {"--method", "--epochs", "--minutes", "--seed"}),
        (("profiles", "list"), {"--data", "--profile"}),
        (("analyze", "variance-gap"), {"--data", "--eps", "--attack"}),
    ],
    ids=lambda value: named(value) if isinstance(value, tuple) else "",
)
def test_sub_commands_have_only_their_own_options(path, foreign):
    """Catches flags of one sub-command shown at another, which then refuses them."""
    own = {name for parameter in LEAVES[path].params for name in parameter.opts}
    assert own & foreign == set()


def test_defaults_are_shown_where_there_are_some(help_of):
    """Catches a default that is lost, and `Default: None` or `Default: False` where there is none."""
    text = " ".join(help_of(("distill",)).split())
    assert "--seed NUMBER The seed of all random numbers. Default: 0." in text
    assert "Default: jetson-orin." in text
    assert "Default: False" not in text


@pytest.mark.parametrize("group", ["teacher", "profiles"])
def test_a_group_alone_lists(group, edgerkd, tmp_path, monkeypatch):
    """Catches a bare group that is a usage error, and its flags taken for the group's."""
    monkeypatch.setenv("EDGERKD_CACHE", str(tmp_path))
    assert edgerkd(group).out == edgerkd(group, "list").out
    assert edgerkd(group, "--json").out == edgerkd(group, "list", "--json").out
    assert "Commands:" in edgerkd(group, "--help").out


@pytest.mark.parametrize(
    ("text", "first"), [("One. Two.", "One."), ("Of 8.5 kB\n  in all", "Of 8.5 kB in all."), ("", "")]
)
def test_the_first_sentence(text, first):
    """Catches a sentence cut at a decimal point or a line's end, and a lone full stop."""
    assert first_sentence(text) == first
