"""The parts of the page that only some runs have: robust accuracy over the radius, and the variance gap."""

from edgerkd.report.curve import curve_parts
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import NOTHING, section
from edgerkd.report.variance_gap import variance_gap_parts
from edgerkd.report.words import sample_words


def curve(facts: Facts) -> Markup:
    """What `edgerkd evaluate --curve` drew."""
    report = facts.curve
    if report is None:
        return NOTHING
    sample = sample_words(report.n, report.of, report.seed, report.split)
    how = f"On the host: {report.norm}, {sample}. Radius 0 is no attack."
    return section("Against larger and smaller attacks", tag("p", how), *curve_parts(report))


def variance_gap(facts: Facts) -> Markup:
    """What `edgerkd analyze variance-gap` measured."""
    report = facts.variance_gap
    if report is None:
        return NOTHING
    return section("Variance gap, on the host", *variance_gap_parts(report))
