"""The plain question, and how the latency was measured."""

from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup
from edgerkd.report.parts import NOTHING, bullets, data_table, section
from edgerkd.report.plain import memory_lines, plain_lines, plain_table, timing_lines


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


def timing(facts: Facts) -> Markup:
    """Conditions before and after, and what was taken of memory."""
    report = facts.verification
    if report is None:
        return NOTHING
    memory = [f"Memory: {line}" for line in memory_lines(report.engine_memory)]
    return section("How latency and memory were measured", bullets([*timing_lines(report.timing), *memory]))
