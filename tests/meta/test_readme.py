"""README.md: its commands exist, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from edgerkd.core import errors
from tests.command_lines import APP, UsageError, parse

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "README.md").read_text()
COMMANDS = APP.commands


def _commands(text: str, program: str) -> list[str]:
    """What follows `program` in blocks of shell code and between backticks, without comments."""
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).splitlines()
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    found = [line.partition(" #")[0].strip() for line in (*lines, *spans)]
    return list(dict.fromkeys(line.removeprefix(program).strip() for line in found if line.split()[:1] == [program]))


@pytest.mark.parametrize("line", _commands(TEXT, "edgerkd"))
def test_every_command_line_parses(line: str) -> None:
    """Catches a command or an option that was renamed, and one that never was."""
    parse(line)


def test_the_main_job_and_all_commands_are_there() -> None:
    """Catches a README that the test above has nothing to find in."""
    found = _commands(TEXT, "edgerkd")
    assert {line.split()[0] for line in found} == set(COMMANDS)
    main_job = ["distill --profile jetson-orin", "export --format trt", "verify"]
    assert [line for line in found if line in main_job] == main_job


@pytest.mark.parametrize("line", ["distill --profil x", "verify a b", "profiles shw x", "distill --epochs 0"])
def test_the_check_would_notice(line: str) -> None:
    """Catches a parser that takes anything."""
    with pytest.raises(UsageError):
        parse(line)


@pytest.mark.parametrize("target", [line.split()[0] for line in _commands(TEXT, "make") if line])
def test_every_make_target_exists(target: str) -> None:
    """Catches a target that was renamed."""
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT))))
def test_every_relative_link_exists(link: str) -> None:
    """Catches a page that moved."""
    assert "://" in link or (REPOSITORY / link).exists()


def test_the_exit_codes_are_those_of_the_errors() -> None:
    """Catches a failure whose exit code the table does not explain."""
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    raised = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.EdgerkdError)}
    assert listed == raised | {0, 1, 2, 7, 8, 130, 143}
