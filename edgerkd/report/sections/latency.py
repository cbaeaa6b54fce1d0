"""How long the engine takes."""

from edgerkd.report.histogram import histogram_chart
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup
from edgerkd.report.parts import NOTHING, data_table, section
from edgerkd.report.table import latency_table
from edgerkd.report.words import device_words


def latency(facts: Facts) -> Markup:
    """Milliseconds, run by run as a histogram where it was kept."""
    report = facts.verification
    if report is None:
        return NOTHING
    caption = f"{report.engine.backend} on {device_words(report.engine.device)}: images to logits, in host memory"
    return section("Latency", histogram_chart(report.latency_ms), data_table(latency_table(report), caption))
