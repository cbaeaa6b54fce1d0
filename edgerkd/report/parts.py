"""The pieces a page is built of: headings, lists, tiles, tables."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields

from edgerkd.core.record import Record
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.table import Table

NOTHING = Markup("")

_SIGNS = {
    "pass": "M9 16.5 14 21.5 23 11",
    "fail": "M11 11 21 21 M21 11 11 21",
    **dict.fromkeys(("inconclusive", "measured", "pass-as-claimed"), "M10 16 22 16"),
}

_TONES = {
    **dict.fromkeys(("pass", "within", "yes"), "good"),
    **dict.fromkeys(("fail", "exceeded", "NO"), "bad"),
    **dict.fromkeys(("inconclusive", "not judged here"), "open"),
}


def section(title: str, *children: Markup) -> Markup:
    """A part of the page under its heading, which the contents name."""
    name = anchor(title)
    return tag("section", tag("h2", title, id=name), *children, aria_labelledby=name)


def anchor(title: str) -> str:
    """What a heading is known by within the page."""
    return re.sub("[^a-z]+", "-", title.lower()).strip("-")


def verdict_heading(kind: str, word: str) -> Markup:
    """The verdict's word behind its sign; the sign is decoration."""
    sign = tag(
        "svg",
        tag("circle", cx=16, cy=16, r=15),
        tag("path", d=_SIGNS.get(kind, _SIGNS["measured"])),
        class_="sign",
        viewBox="0 0 32 32",
        aria_hidden="true",
    )
    return tag("h2", sign, tag("span", word))


def bullets(lines: Iterable[str]) -> Markup:
    """A list; nothing where there are no lines."""
    items = [tag("li", line) for line in lines]
    return tag("ul", *items) if items else NOTHING


def pairs(items: Iterable[tuple[str, str]]) -> Markup:
    """Names and what they stand for."""
    return tag("dl", *(join(tag("dt", key), tag("dd", value)) for key, value in items))


def figures(items: Iterable[tuple[str, str]]) -> Markup:
    """The same of figures: an interval is smaller than what it belongs to."""
    return pairs((key, _cell(value)) for key, value in items)


def many_pairs(items: Iterable[tuple[str, str]]) -> Markup:
    """Short pairs in several columns."""
    return tag("dl", *(tag("div", tag("dt", key), tag("dd", value)) for key, value in items), class_="many")


def tile(label: str, value: str, below: str) -> Markup:
    """One figure, large."""
    return tag("div", tag("span", label), tag("b", value), tag("span", below), class_="tile")


def data_table(
    table: Table,
    caption: str,
    *,
    graphics: Sequence[Markup] = (),
    notes: dict[str, str] | None = None,
    kind: str = "stacks",
) -> Markup:
    """A table in a frame; `graphics` is one more column, `notes` go below the names of rows.

    On a narrow page it becomes one block a row, or scrolls by itself where `kind` is "scrolls". The
    last column of kind "stacks sources" is long text, and so may be all of "stacks wraps".
    """
    headers = [tag("th", header, scope="col") for header in table.headers]
    if graphics:
        headers.append(tag("th", "drawn", scope="col"))
    rows: list[Markup] = []
    for number, (name, *cells) in enumerate(table.rows):
        note = (notes or {}).get(name)
        first = tag("th", name, tag("small", note) if note else NOTHING, scope="row")
        named = zip(table.headers[1:], cells, strict=True)
        written = [tag("td", tag("span", _cell(cell)), data_label=header) for header, cell in named]
        if graphics:
            written.append(tag("td", graphics[number]))
        rows.append(tag("tr", first, *written))
    inner = tag("table", tag("caption", caption), tag("thead", tag("tr", *headers)), tag("tbody", *rows))
    return tag("div", inner, class_=f"frame {kind}", tabindex="0", role="region", aria_label=caption)


def _cell(text: str) -> Markup:
    """A verdict in its colour, an interval smaller than what it belongs to."""
    if text in _TONES:
        return tag("span", text, class_=f"mark {_TONES[text]}")
    value, bracket, span = text.partition(" [")
    return join(value, tag("small", bracket + span)) if bracket and span.endswith("]") else join(text)


def field_texts(record: Record) -> list[tuple[str, str]]:
    """Every field of a plain record as text, under the name it has in the files; a table's entries under their own."""
    known = fields(record)  # pyright: ignore[reportArgumentType]  every Record is a dataclass
    found: list[tuple[str, str]] = []
    for name, value in ((f.name, getattr(record, f.name)) for f in known):
        found += [(k, _text(v)) for k, v in value.items()] if isinstance(value, dict) else [(name, _text(value))]
    return found


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)
