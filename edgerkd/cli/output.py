"""What all commands share: one JSON document, tables, and progress that only a terminal sees.

rich is imported where it is used, so that importing a command costs nothing.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerkd.core.progress import Advance, Progress, Silent

if TYPE_CHECKING:
    import rich.progress

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")]


def emit_json(record: Any) -> None:  # Any: whichever dataclass of core
    """Write one dataclass to stdout as the command's JSON document."""
    from edgerkd.files.decode import encode_json

    sys.stdout.write(encode_json(record))


def show_table(headers: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Write a table to stdout; without colour, and never folded, where stdout is not a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=not table.columns)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 10_000
    Console(markup=False, highlight=False, emoji=False, width=width).print(table)


@contextmanager
def progress() -> Iterator[Progress]:
    """Bars with the time left on stderr, gone at the end; silent where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield Silent()
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
