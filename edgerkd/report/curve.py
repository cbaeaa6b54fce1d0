"""Robust accuracy against the radius: a chart with its intervals, and a page that needs nothing else."""

from collections.abc import Sequence
from fractions import Fraction

from edgerkd.attacks.words import flag_words, title_of
from edgerkd.core.curve import CurvePoint, CurveReport, EpsCurve
from edgerkd.report.chart import spread
from edgerkd.report.document import document
from edgerkd.report.frame import Frame, Tick
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import bullets, data_table
from edgerkd.report.table import Table
from edgerkd.report.words import percent, sample_words


def curve_table(report: CurveReport) -> Table:
    """A row a radius, a column a network."""
    headers = ["radius"]
    for curve in report.curves:
        headers += [f"{curve.name} robust accuracy [95%]", f"{curve.name}'s worst class"]
    rows = zip(*(curve.points for curve in report.curves), strict=True)
    return Table(
        tuple(headers), tuple((str(points[0].eps), *(c for p in points for c in _cells(p))) for points in rows)
    )


def _cells(point: CurvePoint) -> tuple[str, str]:
    found = point.by_class
    worst = next((f"{c.name}: {c.robust_acc.value:.1%}" for c in found.classes if c.name == found.worst), "-")
    return str(point.robust_acc), worst


def curve_chart(report: CurveReport) -> Markup:
    """Accuracy from 0 to 1 over the radius, each curve within the band of its 95 % intervals."""
    radii = [point.eps for point in report.curves[0].points]
    frame = Frame(
        title="Robust accuracy against the radius of the attack",
        axis=f"radius of the attack, {report.norm}",
        low=0,
        high=float(radii[-1]),
        # The last label ends where the axis does: beyond it stand the curves' names.
        ticks=[
            Tick(value=float(eps), label=str(eps), anchor="end" if eps == radii[-1] else "middle")
            for eps in _labelled(radii)
        ],
    )
    marks: list[Markup] = []
    ends = spread([frame.y(curve.points[-1].robust_acc.value) for curve in report.curves], least=30)
    for curve, end in zip(report.curves, ends, strict=True):
        marks += _curve_marks(frame, curve, end)
    words = "; ".join(f"{curve.name}: {_ends(curve.points)}" for curve in report.curves)
    return frame.drawn(marks, words)


def _curve_marks(frame: Frame, curve: EpsCurve, end: float) -> list[Markup]:
    points = curve.points
    upper = [(float(p.eps), p.robust_acc.high) for p in points]
    lower = [(float(p.eps), p.robust_acc.low) for p in points]
    middle = [(float(p.eps), p.robust_acc.value) for p in points]
    words = [f"{curve.name} at {p.eps}: {p.robust_acc}" for p in points]
    return [
        frame.band(curve.name, upper, lower),
        frame.curve(curve.name, middle),
        *frame.dots(curve.name, middle, words),
        *frame.name(curve.name, (curve.name, percent(middle[-1][1])), y=end),
    ]


def render_curve(report: CurveReport) -> str:
    """The whole page; the same report always gives the same text."""
    title = f"Robust accuracy against the radius: {report.run}"
    header = tag(
        "header",
        tag("h1", title),
        tag(
            "p",
            f"{report.norm}, {sample_words(report.n, report.of, report.seed, report.split)}. Radius 0 is no attack.",
        ),
    )
    footer = tag("footer", "Bands and brackets are 95 % Wilson intervals. Every figure stands in curve.json.")
    return document(title, header, tag("main", *curve_parts(report)), footer)


def curve_parts(report: CurveReport) -> tuple[Markup, ...]:
    """The chart, its figures as a table, and notes."""
    caption = f"of {report.n} images, {', '.join(map(title_of, report.attacks))}; the worst case of each image counts"
    return curve_chart(report), data_table(curve_table(report), caption), bullets(map(flag_words, report.flags))


def _labelled(radii: Sequence[Fraction]) -> list[Fraction]:
    """The radii with room for a label, a sixth of the axis each: the largest, and from 0 on what fits."""
    room = radii[-1] / 6
    kept: list[Fraction] = []
    for radius in radii[:-1]:
        if (not kept or radius - kept[-1] >= room) and radii[-1] - radius >= Fraction(3, 2) * room:
            kept.append(radius)
    return [*kept, radii[-1]]


def _ends(points: Sequence[CurvePoint]) -> str:
    first, last = points[0], points[-1]
    return f"{first.robust_acc.value:.1%} at {first.eps}, {last.robust_acc.value:.1%} at {last.eps}"
