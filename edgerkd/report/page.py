"""A run as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

Every figure on it stands in the run's files; nothing here measures or guesses.
"""

from pathlib import Path

from edgerkd.core.run import RunFolder
from edgerkd.files.atomic import write_atomic
from edgerkd.report import plain_sections, sections, studies
from edgerkd.report.document import document
from edgerkd.report.load import Facts, load_facts
from edgerkd.report.markup import join, tag
from edgerkd.report.precision import precision

_SECTIONS = (
    sections.verdict,
    sections.key_figures,
    sections.not_done,
    plain_sections.plain,
    sections.attacks,
    sections.comparison,
    sections.classes,
    studies.curve,
    studies.variance_gap,
    sections.gates,
    sections.budget,
    precision,
    sections.parity,
    sections.latency,
    plain_sections.timing,
    plain_sections.who_says_so,
    sections.training,
    sections.provenance,
    sections.limits,
)


def write_page(run: RunFolder, target: Path | None = None) -> Path:
    """Write the run's page, report.html in its folder if not elsewhere, and return its path.

    Raises ConfigError, and ArtefactError for a damaged file.
    """
    path = target or run.page
    write_atomic(path, render_page(load_facts(run)))
    return path


def render_page(facts: Facts) -> str:
    """The whole page; the same facts always give the same text."""
    title = f"Robustness report: {facts.run}"
    record = facts.record
    return document(
        title,
        tag(
            "header",
            tag("h1", title),
            tag("p", f"{record.architecture} on {record.data.name}, made for {record.profile.title}"),
        ),
        tag("main", *(join(section(facts), "\n") for section in _SECTIONS)),
        tag(
            "footer",
            "Every figure on this page was read from the files of the run: run.json, metrics.jsonl, evaluation.json, "
            "teacher.json, baseline.json, curve.json, variance-gap.json and the report of `edgerkd verify`. "
            "`edgerkd report` writes the page again.",
        ),
    )
