"""Robust accuracy against the radius: a chart with its intervals, and a page that needs nothing else."""

from collections.abc import Sequence
from fractions import Fraction

from edgerkd.attacks.words import flag_words, title_of
from edgerkd.core.curve import CurvePoint, CurveReport
from edgerkd.report.chart import spread
from edgerkd.report.document import document
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import bullets, data_table
from edgerkd.report.table import Table
from edgerkd.report.words import sample_words


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
    left, right, top, bottom = 44.0, 330.0, 14.0, 216.0
    radii = [point.eps for point in report.curves[0].points]
    largest = float(radii[-1])

    def x(eps: float) -> float:
        return left + (right - left) * eps / largest

    def y(share: float) -> float:
        return bottom - (bottom - top) * share

    def path(where: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{x(eps):.1f},{y(share):.1f}" for eps, share in where)

    parts = [tag("title", "Robust accuracy against the radius of the attack")]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(tag("line", class_="grid", x1=left, x2=right, y1=f"{y(share):.1f}", y2=f"{y(share):.1f}"))
        parts.append(tag("text", f"{share:.0%}", x=left - 6, y=f"{y(share) + 4:.1f}", text_anchor="end"))
    for eps in _labelled(radii):
        # The last one ends where the axis does: beyond it stand the curves' names.
        where = {"x": f"{x(float(eps)):.1f}", "y": bottom + 17}
        parts += [tag("text", str(eps), text_anchor="end" if eps == radii[-1] else "middle", **where)]
    axis = f"radius of the attack, {report.norm}"
    parts.append(tag("text", axis, x=f"{(left + right) / 2:.1f}", y=bottom + 33, text_anchor="middle"))
    ends = spread([y(curve.points[-1].robust_acc.value) for curve in report.curves], least=30)
    for curve, end in zip(report.curves, ends, strict=True):
        points, last = curve.points, curve.points[-1].robust_acc.value
        upper = [(float(p.eps), p.robust_acc.high) for p in points]
        lower = [(float(p.eps), p.robust_acc.low) for p in reversed(points)]
        parts.append(tag("polygon", class_=f"band {curve.name}", points=path([*upper, *lower])))
        middle = path([(float(p.eps), p.robust_acc.value) for p in points])
        parts.append(tag("polyline", class_=f"curve {curve.name}", points=middle))
        for point in points:
            where = {"cx": f"{x(float(point.eps)):.1f}", "cy": f"{y(point.robust_acc.value):.1f}"}
            words = tag("title", f"{curve.name} at {point.eps}: {point.robust_acc}")
            parts.append(tag("circle", words, class_=f"dot {curve.name}", r=2.5, **where))
        for line, text in enumerate((curve.name, f"{last:.1%}")):
            parts.append(tag("text", text, class_=f"name {curve.name}", x=right + 10, y=f"{end + 15 * line:.1f}"))
    words = "; ".join(f"{curve.name}: {_ends(curve.points)}" for curve in report.curves)
    return tag("svg", *parts, class_="chart", viewBox="0 0 420 256", role="img", aria_label=words)


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
