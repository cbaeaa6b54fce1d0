"""What all commands share: one JSON document, tables, and progress that only a terminal sees.

rich is imported where it is used, so that importing a command costs nothing.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Protocol

import typer

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")]


class Update(Protocol):
    """Tells how far the work is. Where `total` is not known yet, only the time spent is shown."""

    def __call__(self, done: int, total: int | None = None, title: str | None = None) -> None: ...


def emit_json(record: Any) -> None:  # Any: whichever dataclass of core
    """Write one dataclass to stdout as the command's JSON document."""
    from edgerkd.files.decode import encode_json

    sys.stdout.write(encode_json(record))


def show_table(headers: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Write a table to stdout; without colour, and never cut short, where stdout is not a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*headers, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 10_000
    Console(markup=False, highlight=False, emoji=False, width=width).print(table)


@contextmanager
def progress(title: str) -> Iterator[Update]:
    """A bar with the time left on stderr, gone at the end; silent where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield _silent
        return

    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as shown:
        task = shown.add_task(title, total=None)

        def update(done: int, total: int | None = None, title: str | None = None) -> None:
            shown.update(task, completed=done, total=total, description=title)

        yield update


def _silent(done: int, total: int | None = None, title: str | None = None) -> None:
    pass
