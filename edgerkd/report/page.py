"""A run as one HTML page that needs nothing else: no script, no font, no picture but those in it.

Every figure on it stands in the run's files; nothing here measures or guesses.
"""

import re
from pathlib import Path

from edgerkd.bundle.kept import Kept
from edgerkd.core.run import RunFolder
from edgerkd.files.atomic import write_atomic
from edgerkd.report.document import document
from edgerkd.report.load import Facts, load_kept, verification_path
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.sections.attacks import attacks, classes, comparison
from edgerkd.report.sections.gates import budget, gates, parity
from edgerkd.report.sections.images import images
from edgerkd.report.sections.latency import latency
from edgerkd.report.sections.limits import limits
from edgerkd.report.sections.plain import plain, timing
from edgerkd.report.sections.precision import precision
from edgerkd.report.sections.provenance import provenance
from edgerkd.report.sections.radius import radius
from edgerkd.report.sections.road import road
from edgerkd.report.sections.training import training
from edgerkd.report.sections.trust import trust
from edgerkd.report.sections.variance_gap import variance_gap
from edgerkd.report.sections.verdict import key_figures, not_done, verdict

_FIRST = (verdict, key_figures, not_done)
_LOOKED_AT = (road, radius)
_READ = (
    gates,
    budget,
    latency,
    timing,
    plain,
    attacks,
    comparison,
    classes,
    precision,
    parity,
    variance_gap,
    training,
    trust,
    provenance,
    limits,
)


def write_page(run: RunFolder, facts: Facts, target: Path | None = None) -> Path:
    """Write the run's page, report.html in its folder if not elsewhere, and return its path.

    Raises ArtefactError where what was kept beside the verification is damaged.
    """
    path = target or run.page
    write_atomic(path, render_page(facts, load_kept(verification_path(run), facts.verification)))
    return path


def render_page(facts: Facts, kept: Kept | None = None) -> str:
    """The whole page; the same facts always give the same text."""
    title = f"Robustness report: {facts.run}"
    first = join(*(join(section(facts), "\n") for section in _FIRST))
    looked_at = [*(section(facts) for section in _LOOKED_AT), images(facts, kept)]
    rest = join(*(join(part, "\n") for part in (*looked_at, *(section(facts) for section in _READ))))
    return document(
        title,
        tag("header", tag("h1", title), tag("p", _about(facts))),
        tag("main", first, _contents(rest), "\n", rest),
        tag(
            "footer",
            "Every figure on this page was read from the files of the run: run.json, metrics.jsonl, evaluation.json, "
            "teacher.json, baseline.json, curve.json, variance-gap.json, the bundle's manifest.json, and the report of "
            "`edgerkd verify` with what lies beside it. `edgerkd report` writes the page again.",
        ),
    )


def _about(facts: Facts) -> str:
    record, manifest = facts.record, facts.manifest
    if record is not None:
        return f"{record.architecture} on {record.data.name}, made for {record.profile.title}"
    return "" if manifest is None else f"a network of one's own on {manifest.dataset}"


def _contents(page: Markup) -> Markup:
    """A list of the headings, in order."""
    found = re.findall(r'<h2 id="([a-z-]+)">(.*?)</h2>', page)
    items = [tag("li", tag("a", Markup(heading), href=f"#{name}")) for name, heading in found]
    return tag("nav", tag("ul", *items), aria_label="Contents")
