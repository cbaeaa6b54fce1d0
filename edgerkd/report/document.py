"""A whole HTML document in the look that all our pages share."""

from pathlib import Path

from edgerkd.report.markup import Markup, tag

_STYLE = Path(__file__).with_name("page.css")
_NOTHING_FROM_ELSEWHERE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, *parts: Markup) -> str:
    """The document's text, which needs nothing else: no script, no font, no picture but those in it."""
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_ELSEWHERE}">'),
        tag("title", title),
        tag("style", Markup("\n" + _STYLE.read_text(encoding="utf-8"))),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *parts), lang='en')}\n"
