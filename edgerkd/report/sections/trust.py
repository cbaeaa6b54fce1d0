"""Who says so: what was measured here, what the bundle claims, what the verifier brought, and what backs it."""

from edgerkd.core.record import Record
from edgerkd.core.verification import VerifyReport
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.origins import origin_lines
from edgerkd.report.parts import NOTHING, bullets, field_texts, pairs, section
from edgerkd.report.plain import samples_lines
from edgerkd.report.words import LIMITS

_RECORDS = {"trust": "Signature and other grounds", "made": "When and how"}
"""Parts of a report that say what backs it, by field."""


def trust(facts: Facts) -> Markup:
    """Measured here, claimed by the bundle, or brought by the verifier."""
    report = facts.verification
    if report is None:
        return NOTHING
    return section(
        "Who says so",
        tag("p", "What is only claimed was not checked beyond what the bundle's own files tell.", class_="aside"),
        bullets([*origin_lines(report, LIMITS), *samples_lines(report.samples)]),
        *(_told(report, name, title) for name, title in _RECORDS.items()),
    )


def _told(report: VerifyReport, name: str, title: str) -> Markup:
    """A part of the report as it stands there; nothing where the report has none."""
    record = getattr(report, name, None)
    return join(tag("h3", title), pairs(field_texts(record))) if isinstance(record, Record) else NOTHING
