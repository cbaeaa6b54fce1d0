"""Who says so: what was measured here, what the bundle claims, what the verifier brought, and what backs it."""

from edgerkd.core.circumstances import Circumstances
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.origins import origin_lines
from edgerkd.report.parts import NOTHING, bullets, field_texts, pairs, section
from edgerkd.report.plain import samples_lines
from edgerkd.report.words import LIMITS


def trust(facts: Facts) -> Markup:
    """Measured here, claimed by the bundle, or brought by the verifier."""
    report = facts.verification
    if report is None:
        return NOTHING
    return section(
        "Who says so",
        tag("p", "What is only claimed was not checked beyond what the bundle's own files tell.", class_="aside"),
        bullets([*origin_lines(report, LIMITS), *samples_lines(report.samples)]),
        tag("h3", "Signature and other grounds"),
        pairs([*field_texts(report.trust), ("this verification", _signed(facts.signed_by))]),
        NOTHING if report.made is None else _made(report.made),
    )


def _signed(key: str | None) -> str:
    return "no signature was checked" if key is None else f"as the key {key} signed it"


def _made(made: Circumstances) -> Markup:
    """When and with what, and what the verifier asked beside the bundle's own gates."""
    asked = [(f"asked: {name}", value) for name, value in field_texts(made.asked) if name != "budget"]
    versions = made.versions.items()
    return join(tag("h3", "When and how"), pairs([("time", made.time), *versions, *asked]))
