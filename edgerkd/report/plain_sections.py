"""The parts of the page on the plain question, on who says what, and on how the latency was measured."""

from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, tag
from edgerkd.report.origins import origin_lines
from edgerkd.report.parts import NOTHING, bullets, data_table, section
from edgerkd.report.plain import plain_lines, plain_table, samples_lines, timing_lines
from edgerkd.report.words import LIMITS


def plain(facts: Facts) -> Markup:
    """Accuracy before any attack."""
    report = facts.verification
    if report is None:
        return NOTHING
    return section(
        "First the plain question: how accurate is the engine?",
        bullets(plain_lines(report.plain)),
        data_table(plain_table(report.plain), "Accuracy before any attack, the engine's and the model's"),
    )


def who_says_so(facts: Facts) -> Markup:
    """Measured here, claimed by the bundle, or brought by the verifier."""
    report = facts.verification
    if report is None:
        return NOTHING
    return section(
        "Who says so",
        tag("p", "What is only claimed was not checked beyond what the bundle's own files tell.", class_="aside"),
        bullets([*origin_lines(report, LIMITS), *samples_lines(report.samples)]),
    )


def timing(facts: Facts) -> Markup:
    """Conditions before and after."""
    report = facts.verification
    return NOTHING if report is None else section("How the latency was measured", bullets(timing_lines(report.timing)))
