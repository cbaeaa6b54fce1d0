"""Drawings as inline SVG: an interval against a wish, curves over epochs. Colours come from the page's style."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from edgerkd.report.markup import Markup, tag
from edgerkd.report.words import interval, percent

Points = Sequence[tuple[int, float]]
"""(epoch, value), in order."""

_MANY = 60  # points of a curve above which dots would only smear it


def interval_bar(value: float, low: float, high: float, required: float | None = None) -> Markup:
    """A share from 0 to 1 (or `high`, if above) with its interval, and the least that was required."""
    top = max(1.0, high, required or 0.0)

    def x(share: float) -> str:
        return f"{4 + 192 * share / top:.1f}"

    words = interval(value, low, high) + ("" if required is None else f", required at least {percent(required)}")
    parts = [
        tag("title", words),
        tag("line", class_="track", x1=x(0), x2=x(top), y1=10, y2=10),
        tag("line", class_="range", x1=x(low), x2=x(high), y1=10, y2=10),
        tag("circle", class_="point", cx=x(value), cy=10, r=4),
    ]
    if required is not None:
        parts.append(tag("line", class_="wish", x1=x(required), x2=x(required), y1=1, y2=19))
    return tag("svg", *parts, class_="bar", viewBox="0 0 200 20", role="img", aria_label=words)


def accuracy_chart(curves: Mapping[str, Points], epochs: int) -> Markup:
    """Shares over epochs 1 to `epochs`, each curve named at its end."""
    left, right, top, bottom = 44.0, 330.0, 14.0, 216.0

    def x(epoch: float) -> float:
        return left + (right - left) * (epoch - 1) / max(1, epochs - 1)

    def y(share: float) -> float:
        return bottom - (bottom - top) * share

    parts = [tag("title", "Accuracy on the validation split, by epoch")]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(tag("line", class_="grid", x1=left, x2=right, y1=f"{y(share):.1f}", y2=f"{y(share):.1f}"))
        parts.append(tag("text", f"{share:.0%}", x=left - 6, y=f"{y(share) + 4:.1f}", text_anchor="end"))
    parts += [
        tag("text", f"{epoch}", x=f"{x(epoch):.1f}", y=bottom + 17, text_anchor="middle")
        for epoch in sorted({1, (1 + epochs) // 2, epochs})
    ]
    parts.append(tag("text", "epoch", x=f"{(left + right) / 2:.1f}", y=bottom + 33, text_anchor="middle"))
    ends = spread([y(points[-1][1]) for points in curves.values()], least=30)
    for (name, points), end in zip(curves.items(), ends, strict=True):
        where = [(x(epoch), y(share)) for epoch, share in points]
        label = f"{where[-1][0] + 10:.1f}"
        parts += [
            tag("polyline", class_=f"curve {name}", points=_path(where)),
            *_dots(where, [f"{name}, epoch {epoch}: {percent(share)}" for epoch, share in points], name),
            tag("text", name, class_=f"name {name}", x=label, y=f"{end:.1f}"),
            tag("text", percent(points[-1][1]), class_=f"name {name}", x=label, y=f"{end + 15:.1f}"),
        ]
    words = "; ".join(f"{name}: {percent(p[0][1])} at first, {percent(p[-1][1])} at last" for name, p in curves.items())
    return tag("svg", *parts, class_="chart", viewBox="0 0 420 256", role="img", aria_label=words)


def small_chart(name: str, points: Points, epochs: int) -> Markup:
    """One quantity over the whole run, from 0 to its own greatest value."""
    greatest = max((abs(value) for _, value in points), default=0.0) or 1.0
    where = [(4 + 192 * (e - 1) / max(1, epochs - 1), 54 - 46 * max(0.0, value) / greatest) for e, value in points]
    words = f"{name}: {points[0][1]:.3g} in epoch {points[0][0]}, {points[-1][1]:.3g} in epoch {points[-1][0]}"
    return tag(
        "svg",
        tag("title", words),
        tag("line", class_="grid", x1=4, x2=196, y1=54, y2=54),
        tag("polyline", class_="curve term", points=_path(where)),
        tag("circle", class_="dot term", cx=f"{where[-1][0]:.1f}", cy=f"{where[-1][1]:.1f}", r=3),
        class_="small",
        viewBox="0 0 200 60",
        role="img",
        aria_label=words,
    )


def _path(where: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in where)


def _dots(where: Sequence[tuple[float, float]], words: Sequence[str], name: str) -> list[Markup]:
    """A dot a point, which says its value; none where there are too many."""
    if len(where) > _MANY:
        return []
    return [
        tag("circle", tag("title", text), class_=f"dot {name}", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.5)
        for (x, y), text in zip(where, words, strict=True)
    ]


def spread(heights: Sequence[float], *, least: float) -> list[float]:
    """The heights, moved down where two labels would cover each other."""
    moved = list(heights)
    order = sorted(range(len(moved)), key=moved.__getitem__)
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved
