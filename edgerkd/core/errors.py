"""Every error a user can meet, and the exit code of each.

EdgerkdError
    MissingGatesError (2)       a verdict is asked for, and no gate is
    ConfigError (3)             bad input or configuration; carries all problems at once
        UnknownNameError        no such profile, data set, backend ...: names the nearest
        BudgetError             no student fits: each limit with what is required and measured
    MissingDependencyError (4)  not installed or not usable here: the exact install line
    StorageError (4)            a file cannot be read or written here: no permission, no room
        StreamError             standard output is closed, or full
    ArtefactError (5)           a damaged, tampered or incompatible file
    ExportError (6)             export, build or engine failure
        EngineError
        ParityError             two implementations of one network disagree
    DivergedError (6)           the loss of a training run is no longer finite
    LostRankError (70)          another process of the same command has ended

A message says in plain sentences what is wrong (with the value), where (file, key) and how to fix it.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from edgerkd.core.text import LONGEST_NAME, printable


class EdgerkdError(Exception):
    """Root of all errors meant for the user."""

    exit_code = 70


class ConfigError(EdgerkdError, ValueError):
    """Bad input or configuration."""

    exit_code = 3


class UnknownNameError(ConfigError):
    """A name that is not among the known ones, which are listed: by name, or in order with the `words` on each."""

    def __init__(
        self, kind: str, name: str, known: Iterable[str] = (), *, words: Mapping[str, str] | None = None
    ) -> None:
        names = sorted(words or known)
        near = get_close_matches(name[:LONGEST_NAME], names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        shown = printable(name, LONGEST_NAME)
        listed = f" {', '.join(names) or 'none'}"
        if words:
            listed = "".join(f"\n  - {each}: {said}" for each, said in words.items())
        super().__init__(f"There is no {kind} named {shown!r}: {hint}known:{listed}")


class MissingGatesError(EdgerkdError):
    """A verdict is asked for, and nothing says what would be good enough."""

    exit_code = 2


class BudgetError(ConfigError):
    """No student fits the budget."""


class MissingDependencyError(EdgerkdError):
    """Something is not installed or not usable here."""

    exit_code = 4


class StorageError(EdgerkdError):
    """A file cannot be read or written here."""

    exit_code = 4


class StreamError(StorageError):
    """Standard output is closed, or what it goes to is full."""


class ArtefactError(EdgerkdError):
    """A damaged, tampered or incompatible file."""

    exit_code = 5


class ExportError(EdgerkdError):
    """Export, build or engine failure."""

    exit_code = 6


class EngineError(ExportError):
    """An engine could not be built or run."""


class ParityError(ExportError):
    """Two implementations of one network give different logits."""


class DivergedError(EdgerkdError):
    """The loss of a training run is no longer finite."""

    exit_code = 6


class LostRankError(EdgerkdError):
    """Another process of this command has ended before its work was done."""

    exit_code = 70


def problems_text(where: object, problems: Sequence[str], *, of: int | None = None) -> str:
    """One message for all problems of one file, or the first `of` so many: the file first, then a line each."""
    if len(problems) == 1 and of in (None, 1):
        return f"{where}: {problems[0]}"
    many = len(problems) if of is None else of
    more = [] if many == len(problems) else [f"and {many - len(problems)} more"]
    return f"{where}: {many} problems\n" + "\n".join(f"  - {problem}" for problem in (*problems, *more))
