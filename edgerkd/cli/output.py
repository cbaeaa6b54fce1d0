"""What all commands share: one JSON document, tables, lines, and progress that only a terminal sees drawn.

Whatever goes to stdout goes through `put`, so that a closed pipe or a full disk is an error with an exit code of its
own, and never looks like a verdict. rich is imported where it is used, so that importing a command costs nothing.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerkd.core.errors import StreamError
from edgerkd.core.progress import Advance, Progress

if TYPE_CHECKING:
    import rich.progress
    from rich.text import Text

    from edgerkd.bundle.keys import Signer
    from edgerkd.bundle.read import Bundle
    from edgerkd.core.verification import VerifyReport
    from edgerkd.report.text_table import Table

QUIET = 60.0  # seconds after which whoever sees no bars is told how far it is; ours

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def put(text: str) -> None:
    """Write to stdout at once. Raises StreamError where that is closed or full."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError) as e:
        raise StreamError(f"Standard output cannot be written: {getattr(e, 'strerror', None) or e}.") from e


def put_line(line: str) -> None:
    """Write one line to stdout."""
    put(f"{line}\n")


def note(line: str) -> None:
    """Write one line to stderr, if anybody can read it."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def emit_json(record: Any) -> None:  # Any: whichever record
    """Write one record to stdout as the command's JSON document, whole or not at all."""
    from edgerkd.files.decode import encode_json

    put(encode_json(record))


def show_parts(*parts: "Table | str") -> None:
    """Write tables and texts to stdout, an empty line between them; what is empty is left out."""
    from edgerkd.report.text_table import Table, table_text

    width = line_width()
    texts = (table_text(part, width) if isinstance(part, Table) else part for part in parts)
    put_line("\n\n".join(text for text in texts if text))


def line_width() -> int:
    """The columns that stdout has room for: COLUMNS if set, else the terminal's own; 100 in a pipe or a file. Ours."""
    return get_terminal_size(fallback=(100, 24)).columns


def _coloured(text: "Text") -> str:
    """What rich would print, as text; coloured where stdout is a terminal."""
    from rich.console import Console

    buffer = StringIO()
    console = Console(file=buffer, force_terminal=sys.stdout.isatty(), soft_wrap=True)
    console.print(text, end="")
    return buffer.getvalue()


def identity_lines(bundle: "Bundle", signer: "Signer") -> tuple[str, str]:
    """What a verifier elsewhere can hold a bundle to."""
    from edgerkd.bundle.keys import PUBLIC, config_folder, own_key

    own = own_key()
    where = f", {config_folder() / PUBLIC}" if own is not None and own.fingerprint == signer.key.fingerprint else ""
    return f"manifest: sha256 {bundle.sha256}", f"signed: key {signer.key.fingerprint}{where}"


def show_verification(report: "VerifyReport") -> None:
    """Write a verdict with its evidence to stdout, the verdict coloured on a terminal."""
    from rich.text import Text

    from edgerkd.report.table import verification_text
    from edgerkd.report.words import HEADLINES

    text = Text(verification_text(report, line_width()))
    colour = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow", "measured": "bold"}.get(
        report.verdict, "bold yellow"
    )
    text.highlight_regex(rf"(?m)^{HEADLINES[report.verdict][0]} on .*$", colour)
    put(_coloured(text))


@contextmanager
def progress() -> Iterator[Progress]:
    """Bars with the time left on stderr, gone at the end; lines where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield _Lines()
        return

    from rich import progress as parts
    from rich.console import Console

    columns = (
        parts.SpinnerColumn(),
        parts.TextColumn("{task.description}", markup=False),
        parts.BarColumn(),
        parts.MofNCompleteColumn(),
        parts.TimeElapsedColumn(),
        parts.TextColumn("left"),
        parts.TimeRemainingColumn(),
    )
    with parts.Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
        yield _Bars(bars)


class _Lines:
    """No bars: a line for what should be known, for each epoch of a training, and where nothing was said for long."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        started = time.monotonic()

        def advance(done: int, words: str) -> None:
            now = time.monotonic()
            if now - self._last >= QUIET:
                self.say(_how_far(name, done, total, words, now - started))

        yield advance

    def say(self, line: str) -> None:
        self._last = time.monotonic()
        note(line)

    def log(self, line: str) -> None:
        self.say(line)


def _how_far(name: str, done: int, total: int, words: str, seconds: float) -> str:
    """What a bar would show, in words."""
    of = f"{done:,} of {total:,}" if total else f"{done:,}"
    left = f", about {seconds * (total - done) / done:,.0f} s left" if 0 < done < total else ""
    return f"{name}: {of}{f', {words}' if words else ''}, {seconds:,.0f} s{left}"


class _Bars:
    """One bar a stage; a stage of 0 units only shows the time spent."""

    def __init__(self, bars: "rich.progress.Progress") -> None:
        self._bars = bars

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Advance]:
        task = self._bars.add_task(name, total=total or None)

        def advance(done: int, words: str) -> None:
            self._bars.update(task, completed=done, description=f"{name}: {words}" if words else name)

        try:
            yield advance
        finally:
            self._bars.refresh()  # so that even a short stage shows where it ended
            self._bars.remove_task(task)

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def log(self, line: str) -> None:
        """The bars show it."""
