"""Robust accuracy against the radius: a chart with its intervals, and a page that needs nothing else."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from edgerkd.attacks.words import flag_words, title_of
from edgerkd.core.accuracy import Accuracy
from edgerkd.core.curve import CurvePoint, CurveReport, EpsCurve
from edgerkd.core.units import Radius
from edgerkd.report.chart import spread
from edgerkd.report.document import document
from edgerkd.report.frame import RIGHT, Frame, Tick
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import bullets, data_table
from edgerkd.report.table import ANYTIME, Table
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


class Line(NamedTuple):
    """One network in the chart: `kind` is its colour's, and how it is drawn.

    A "curve" was attacked at each radius and has a band; "points" have their intervals and no line; a "bound" is
    dashed, and its last point alone was attacked.
    """

    name: str
    kind: str
    points: tuple[tuple[Radius, Accuracy], ...]
    drawn: Literal["curve", "points", "bound"]


def line_of(curve: EpsCurve) -> Line:
    """A network that was attacked at each radius."""
    return Line(curve.name, curve.name, tuple((p.eps, p.robust_acc) for p in curve.points), "curve")


def curve_chart(report: CurveReport) -> Markup:
    """Accuracy from 0 to 1 over the radius, each curve within the band of its 95 % intervals."""
    return radius_chart([line_of(curve) for curve in report.curves], report.norm)


def radius_chart(lines: Sequence[Line], norm: str) -> Markup:
    """The same, of any lines."""
    radii = sorted({eps for line in lines for eps, _ in line.points})
    frame = Frame(
        title="Robust accuracy against the radius of the attack",
        axis=f"radius of the attack, {norm}",
        low=0,
        high=float(radii[-1]),
        # The last label ends where the axis does: beyond it stand the curves' names.
        ticks=[
            Tick(value=float(eps), label=str(eps), anchor="end" if eps == radii[-1] else "middle")
            for eps in _labelled(radii)
        ],
    )
    marks: list[Markup] = []
    ends = spread([frame.y(line.points[-1][1].value) for line in lines], least=30)
    for line, end in zip(lines, ends, strict=True):
        marks += _line_marks(frame, line, end)
    words = "; ".join(f"{line.name}: {_ends(line)}" for line in lines)
    return frame.drawn(marks, words)


def radius_table(line: Line) -> Table:
    """A row a radius of an engine's line."""
    rows = tuple((str(radius), str(accuracy)) for radius, accuracy in line.points)
    return Table(("radius", f"{line.name} robust accuracy [{ANYTIME}]"), rows)


def _line_marks(frame: Frame, line: Line, end: float) -> list[Markup]:
    upper = [(float(eps), accuracy.high) for eps, accuracy in line.points]
    lower = [(float(eps), accuracy.low) for eps, accuracy in line.points]
    middle = [(float(eps), accuracy.value) for eps, accuracy in line.points]
    words = [f"{line.name} at {eps}: {accuracy}" for eps, accuracy in line.points]
    drawn: list[Markup] = []
    if line.drawn == "curve":
        drawn = [frame.band(line.kind, upper, lower), frame.curve(line.kind, middle)]
    elif line.drawn == "bound":
        drawn = [frame.curve(f"{line.kind} bound", middle)]
    if line.drawn != "curve":
        shown = slice(None) if line.drawn == "points" else slice(-1, None)
        drawn += frame.whiskers(line.kind, upper[shown], lower[shown])
    x = max(frame.x(middle[-1][0]), RIGHT)
    return [
        *drawn,
        *frame.dots(line.kind, middle, words),
        *frame.name(line.kind, (line.name, percent(middle[-1][1])), x=x, y=end),
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
    return curve_chart(report), *curve_figures(report)


def curve_figures(report: CurveReport) -> tuple[Markup, ...]:
    """The figures as a table, and notes."""
    caption = f"of {report.n} images, {', '.join(map(title_of, report.attacks))}; the worst case of each image counts"
    return data_table(curve_table(report), caption), bullets(map(flag_words, report.flags))


def _labelled(radii: Sequence[Fraction]) -> list[Fraction]:
    """The radii with room for a label, a sixth of the axis each: the largest, and from 0 on what fits."""
    room = radii[-1] / 6
    kept: list[Fraction] = []
    for radius in radii[:-1]:
        if (not kept or radius - kept[-1] >= room) and radii[-1] - radius >= Fraction(3, 2) * room:
            kept.append(radius)
    return [*kept, radii[-1]]


def _ends(line: Line) -> str:
    (first, at_first), (last, at_last) = line.points[0], line.points[-1]
    return f"{at_first.value:.1%} at {first}, {at_last.value:.1%} at {last}"
