"""A run as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

Every figure on it stands in the run's files; nothing here measures or guesses.
"""

from pathlib import Path

from edgerkd.core.run import RunFolder
from edgerkd.files.atomic import write_atomic
from edgerkd.report import sections
from edgerkd.report.load import Facts, load_facts
from edgerkd.report.markup import Markup, join, tag

_STYLE = Path(__file__).with_name("page.css")
_NOTHING_FROM_ELSEWHERE = "default-src 'none'; style-src 'unsafe-inline'"

_SECTIONS = (
    sections.verdict,
    sections.key_figures,
    sections.not_done,
    sections.attacks,
    sections.comparison,
    sections.gates,
    sections.budget,
    sections.parity,
    sections.latency,
    sections.training,
    sections.provenance,
    sections.limits,
)


def write_page(run: RunFolder) -> Path:
    """Write the run's report.html and return its path. Raises ConfigError, or ArtefactError for a damaged file."""
    write_atomic(run.page, render_page(load_facts(run)))
    return run.page


def document(title: str, *parts: Markup, style: str = "") -> str:
    """A whole HTML document in the page's look."""
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_ELSEWHERE}">'),
        tag("title", title),
        tag("style", Markup("\n" + _STYLE.read_text(encoding="utf-8") + style)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *parts), lang='en')}\n"


def render_page(facts: Facts) -> str:
    """The whole page; the same facts always give the same text."""
    title = f"Robustness report: {facts.run}"
    record = facts.record
    return document(
        title,
        tag(
            "header",
            tag("h1", title),
            tag("p", f"{record.architecture} on {record.dataset}, made for {record.profile.title}"),
        ),
        tag("main", *(join(section(facts), "\n") for section in _SECTIONS)),
        tag(
            "footer",
            "Every figure on this page was read from the files of the run: run.json, metrics.jsonl, evaluation.json, "
            "teacher.json, baseline.json and verify.json. `edgerkd report` writes the page again.",
        ),
    )
