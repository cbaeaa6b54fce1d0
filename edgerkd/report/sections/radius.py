"""Robust accuracy against the radius, for teacher, host and engine in one chart."""

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.units import Radius
from edgerkd.core.verification import VerifyReport
from edgerkd.report.curve import Line, curve_figures, line_of, radius_chart, radius_table
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import NOTHING, data_table, section
from edgerkd.report.words import sample_words

_ENGINE = (
    "Engine: attacked in full at the largest radius. Below it, the images that fell there were attacked for a few "
    "steps, and changes that fooled it were made smaller for as long as they did: the dashed line is an upper bound."
)
_POINTS = "Where the host's networks have no curve, they are shown at the two radii that the bundle has figures for."


def radius(facts: Facts) -> Markup:
    """What `edgerkd evaluate --curve` drew, the bundle's own figures where it was not asked, and the engine."""
    report, drawn = facts.verification, facts.curve
    if report is not None and not report.rows:
        report = None
    if drawn is not None and report is not None and drawn.norm != report.threat_model.norm:
        report = None
    lines = [] if drawn is None else [line_of(curve) for curve in drawn.curves]
    known = {line.name for line in lines}
    if report is not None:
        lines += [line for line in _of_reference(report) if line.name not in known] + _of_engine(report)
    if not lines:
        return NOTHING
    norm = drawn.norm if drawn is not None else report.threat_model.norm if report is not None else ""
    chart = radius_chart(lines, norm)
    parts = [chart]
    if report is not None and report.curve:
        table = data_table(radius_table(lines[-1]), f"On the engine, {report.clean_acc.n} images, {norm}")
        parts = [tag("div", chart, table, class_="beside")]
        parts.append(tag("p", f"{_ENGINE} {_POINTS}", class_="aside"))
    if drawn is not None:
        sample = sample_words(drawn.n, drawn.of, drawn.seed, drawn.split)
        parts += [tag("h3", "On the host"), tag("p", f"{drawn.norm}, {sample}. Radius 0 is no attack.")]
        parts += curve_figures(drawn)
    return section("Robust accuracy against the radius", *parts)


def _of_reference(report: VerifyReport) -> list[Line]:
    """The bundle's figures of the host, without attack and at its radius."""
    found = report.reference
    if found is None:
        return []
    pairs = {
        "teacher": (found.teacher_clean_acc, found.teacher_robust_acc),
        "student": (found.clean_acc, found.robust_acc),
    }
    eps = report.threat_model.eps
    return [
        Line(name, name, ((Radius(0), clean), (eps, robust)), "points")
        for name, (clean, robust) in pairs.items()
        if clean is not None and robust is not None
    ]


def _of_engine(report: VerifyReport) -> list[Line]:
    found: tuple[tuple[Radius, Accuracy], ...] = tuple((point.eps, point.robust_acc) for point in report.curve)
    found = found or ((Radius(0), report.clean_acc), (report.threat_model.eps, report.robust_acc))
    return [Line("engine", "engine", found, "bound" if report.curve else "points")]
