"""The part of the page that only some runs have: the variance gap."""

from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup
from edgerkd.report.parts import NOTHING, section
from edgerkd.report.variance_gap import variance_gap_parts


def variance_gap(facts: Facts) -> Markup:
    """What `edgerkd analyze variance-gap` measured."""
    report = facts.variance_gap
    if report is None:
        return NOTHING
    return section("Variance gap, on the host", *variance_gap_parts(report))
