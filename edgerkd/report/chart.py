"""Drawings as inline SVG: an interval against a wish, curves over epochs. Colours come from the page's style."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from edgerkd.report.frame import Frame, Tick, path_text
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


def budget_bar(measured: float | None, required: float, judged: str) -> Markup:
    """What was measured from 0 on, and the upright line of the limit; the bar of what is unknown is empty."""
    value = measured or 0.0
    top = 1.15 * max(value, required) or 1.0

    def x(amount: float) -> str:
        return f"{4 + 192 * amount / top:.1f}"

    words = judged if measured is None else f"{judged}: {measured / required:.2g} of the limit" if required else judged
    parts = [tag("title", words), tag("line", class_="track", x1=x(0), x2=x(top), y1=10, y2=10)]
    if measured is not None:
        kind = "filled exceeded" if measured > required else "filled"
        parts.append(tag("line", class_=kind, x1=x(0), x2=x(value), y1=10, y2=10))
    parts.append(tag("line", class_="wish", x1=x(required), x2=x(required), y1=1, y2=19))
    return tag("svg", *parts, class_="bar", viewBox="0 0 200 20", role="img", aria_label=words)


def accuracy_chart(curves: Mapping[str, Points], epochs: int) -> Markup:
    """Shares over epochs 1 to `epochs`, each curve named at its end."""
    ticks = [Tick(value=epoch, label=f"{epoch}") for epoch in sorted({1, (1 + epochs) // 2, epochs})]
    title = "Accuracy on the validation split, by epoch"
    frame = Frame(title=title, axis="epoch", low=1, high=epochs, ticks=ticks)
    marks: list[Markup] = []
    ends = spread([frame.y(points[-1][1]) for points in curves.values()], least=30)
    for (name, points), end in zip(curves.items(), ends, strict=True):
        marks.append(frame.curve(name, points))
        if len(points) <= _MANY:
            marks += frame.dots(name, points, [f"{name}, epoch {epoch}: {percent(share)}" for epoch, share in points])
        last, share = points[-1]
        marks += frame.name(name, (name, percent(share)), x=frame.x(last), y=end)
    words = "; ".join(f"{name}: {percent(p[0][1])} at first, {percent(p[-1][1])} at last" for name, p in curves.items())
    return frame.drawn(marks, words)


def small_chart(name: str, points: Points, epochs: int) -> Markup:
    """One quantity over the whole run, from 0 to its own greatest value."""
    greatest = max((abs(value) for _, value in points), default=0.0) or 1.0
    where = [(4 + 192 * (e - 1) / max(1, epochs - 1), 54 - 46 * max(0.0, value) / greatest) for e, value in points]
    words = f"{name}: {points[0][1]:.3g} in epoch {points[0][0]}, {points[-1][1]:.3g} in epoch {points[-1][0]}"
    return tag(
        "svg",
        tag("title", words),
        tag("line", class_="grid", x1=4, x2=196, y1=54, y2=54),
        tag("polyline", class_="curve term", points=path_text(where)),
        tag("circle", class_="dot term", cx=f"{where[-1][0]:.1f}", cy=f"{where[-1][1]:.1f}", r=3),
        class_="small",
        viewBox="0 0 200 60",
        role="img",
        aria_label=words,
    )


def spread(heights: Sequence[float], *, least: float) -> list[float]:
    """The heights, moved down where two labels would cover each other."""
    moved = list(heights)
    order = sorted(range(len(moved)), key=moved.__getitem__)
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved
