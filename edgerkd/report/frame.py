"""The one frame of all charts of accuracy: a share from 0 to 1 above a horizontal axis, as inline SVG.

Colours come from the page's style, by the class of a mark: `curve student`, `dot teacher`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgerkd.report.markup import Markup, tag

Point = tuple[float, float]
"""(value on the horizontal axis, share from 0 to 1)."""

LEFT, RIGHT, TOP, BOTTOM = 44.0, 330.0, 14.0, 216.0
"""The plot in its view box of 420 x 256; right of it stand the names of the curves."""
_VIEW = "0 0 420 256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A label below the horizontal axis; `anchor` says which part of the text stands at its value."""

    value: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Axes from `low` to `high` and from 0 to 1; `axis` names the horizontal one."""

    title: str
    axis: str
    low: float
    high: float
    ticks: Sequence[Tick]

    def x(self, value: float) -> float:
        """Where a value stands from the left of the view box; all at the left where the axis has no length."""
        return LEFT + (RIGHT - LEFT) * (value - self.low) / ((self.high - self.low) or 1)

    def y(self, share: float) -> float:
        """Where a share stands from the top of the view box."""
        return BOTTOM - (BOTTOM - TOP) * share

    def curve(self, kind: str, points: Sequence[Point]) -> Markup:
        """A line through the points."""
        return tag("polyline", class_=f"curve {kind}", points=self._path(points))

    def band(self, kind: str, upper: Sequence[Point], lower: Sequence[Point]) -> Markup:
        """The area between two lines, both from left to right."""
        return tag("polygon", class_=f"band {kind}", points=self._path([*upper, *reversed(lower)]))

    def whiskers(self, kind: str, upper: Sequence[Point], lower: Sequence[Point]) -> list[Markup]:
        """An upright line from each lower point to its upper one."""
        return [
            tag(
                "line",
                class_=f"curve {kind}",
                x1=_text(self.x(x)),
                x2=_text(self.x(x)),
                y1=_text(self.y(high)),
                y2=_text(self.y(low)),
            )
            for (x, high), (_, low) in zip(upper, lower, strict=True)
        ]

    def dots(self, kind: str, points: Sequence[Point], words: Sequence[str]) -> list[Markup]:
        """A dot a point, which shows its words under the pointer."""
        return [
            tag("circle", tag("title", text), class_=f"dot {kind}", cx=_text(self.x(x)), cy=_text(self.y(y)), r=2.5)
            for (x, y), text in zip(points, words, strict=True)
        ]

    def name(self, kind: str, lines: Sequence[str], *, x: float = RIGHT, y: float) -> list[Markup]:
        """Lines of text right of `x`, the first at height `y`."""
        return [
            tag("text", line, class_=f"name {kind}", x=_text(x + 10), y=_text(y + 15 * number))
            for number, line in enumerate(lines)
        ]

    def drawn(self, marks: Sequence[Markup], words: str) -> Markup:
        """The finished chart: title, grid, ticks, axis, then the marks. `words` are for those who cannot see it."""
        parts = [tag("title", self.title), tag("desc", words)]
        for share in (0, 0.25, 0.5, 0.75, 1):
            y = self.y(share)
            parts.append(tag("line", class_="grid", x1=LEFT, x2=RIGHT, y1=_text(y), y2=_text(y)))
            parts.append(tag("text", f"{share:.0%}", x=LEFT - 6, y=_text(y + 4), text_anchor="end"))
        parts += [
            tag("text", tick.label, x=_text(self.x(tick.value)), y=BOTTOM + 17, text_anchor=tick.anchor)
            for tick in self.ticks
        ]
        parts.append(tag("text", self.axis, x=_text((LEFT + RIGHT) / 2), y=BOTTOM + 33, text_anchor="middle"))
        return tag("svg", *parts, *marks, class_="chart", viewBox=_VIEW, role="img", aria_label=words)

    def _path(self, points: Sequence[Point]) -> str:
        return path_text([(self.x(x), self.y(y)) for x, y in points])


def path_text(places: Sequence[tuple[float, float]]) -> str:
    """Places in the view box, as SVG's `points`."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _text(place: float) -> str:
    return f"{place:.1f}"
