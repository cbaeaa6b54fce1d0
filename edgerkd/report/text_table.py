"""Tables as plain text, wrapped to a width. The one place where text tables are drawn."""

import re
from itertools import zip_longest
from typing import NamedTuple
from unicodedata import combining, east_asian_width

GAP = "  "
_UNBROKEN = re.compile(r"\[[-\d.,% ]+\]|\S+")
"""What is never divided: a word, and an interval such as `[95.4%, 98.6%]`."""


class Table(NamedTuple):
    """Text in rows and columns; the first column names the row."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table_text(table: Table, width: int) -> str:
    """The table in lines of at most `width` columns of a terminal, without a line end after the last.

    Long cells continue in the next line, divided at spaces only: nothing is cut, and a word that is too long makes the
    table wider. The first column is wrapped only where wrapping the others does not suffice.
    """
    columns = list(zip(table.headers, *table.rows, strict=True))
    widths = _fitted([_wanted(column) for column in columns], [_least(column) for column in columns], width)
    rule = tuple("-" * each for each in widths)
    lines: list[str] = []
    for row in (table.headers, rule, *table.rows):
        cells = [_wrapped(cell, each) for cell, each in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (part + " " * (each - text_width(part)) for part, each in zip(parts, widths, strict=True))
            lines.append(GAP.join(padded).rstrip())
    return "\n".join(lines)


def text_width(text: str) -> int:
    """Columns of a terminal that the text takes: two for a wide character, none for one that combines.

    Source: Unicode Standard Annex 11, East Asian Width.
    """
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _wanted(column: tuple[str, ...]) -> int:
    return max(text_width(line) for cell in column for line in cell.split("\n"))


def _least(column: tuple[str, ...]) -> int:
    return max((text_width(word) for cell in column for word in _UNBROKEN.findall(cell)), default=0)


def _fitted(wanted: list[int], least: list[int], width: int) -> list[int]:
    """Widths of columns: as wanted where that fits, else the widest made narrower first, the first column last."""
    widths = list(wanted)
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    for group in (range(1, len(widths)), range(min(1, len(widths)))):
        while excess > 0 and (shrinkable := [k for k in group if widths[k] > least[k]]):
            widths[max(shrinkable, key=widths.__getitem__)] -= 1
            excess -= 1
    return widths


def _wrapped(cell: str, width: int) -> list[str]:
    """The cell's lines, each as full as `width` allows."""
    lines: list[str] = []
    for line in cell.split("\n"):
        if text_width(line) <= width:
            lines.append(line)
            continue
        full = ""
        for word in _UNBROKEN.findall(line):
            longer = f"{full} {word}" if full else word
            if full and text_width(longer) > width:
                lines.append(full)
                longer = word
            full = longer
        lines.append(full)
    return lines
