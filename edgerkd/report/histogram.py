"""Times as a histogram, with the percentiles above it."""

from edgerkd.core.verification import Latency
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import NOTHING
from edgerkd.report.words import milliseconds

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 404.0, 34.0, 134.0
"""The plot in its view box of 420 x 176."""
_WORDS_END = 0.7  # share of the axis right of which words stand left of their line


def histogram_chart(latency: Latency) -> Markup:
    """A bar for each bin, as high as it has runs; nothing where no bins were kept."""
    found = latency.histogram
    if found is None:
        return NOTHING
    most, width = max(found.counts, default=0) or 1, (_RIGHT - _LEFT) / max(1, len(found.counts))
    title = f"Latency of {latency.runs} runs, batch {latency.batch}"
    span = f"{milliseconds(found.low)} to {milliseconds(found.high)} ms"
    words = f"{len(found.counts)} bins from {span}, the fullest with {most} runs; {found.above} runs took longer."
    parts = [tag("title", title), tag("desc", words)]
    for y, runs in ((_BOTTOM, 0), (_TOP, most)):
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=_RIGHT, y1=y, y2=y))
        parts.append(tag("text", f"{runs}", x=_LEFT - 6, y=y + 4, text_anchor="end"))
    for number, count in enumerate(found.counts):
        height = (_BOTTOM - _TOP) * count / most
        parts.append(
            tag(
                "rect",
                class_="column",
                x=f"{_LEFT + number * width + 0.5:.1f}",
                width=f"{max(1.0, width - 1):.1f}",
                y=f"{_BOTTOM - height:.1f}",
                height=f"{height:.1f}",
            )
        )
    parts += _percentile("p50", latency.p50, found.low, found.high, line=0)
    parts += _percentile("p95", latency.p95, found.low, found.high, line=1)
    parts.append(tag("text", milliseconds(found.low), x=_LEFT, y=_BOTTOM + 17))
    parts.append(tag("text", f"{milliseconds(found.high)}", x=_RIGHT, y=_BOTTOM + 17, text_anchor="end"))
    parts.append(
        tag(
            "text",
            f"ms; {found.above} of {latency.runs} runs took longer",
            x=(_LEFT + _RIGHT) / 2,
            y=_BOTTOM + 33,
            text_anchor="middle",
        )
    )
    return tag("svg", *parts, class_="chart", viewBox="0 0 420 176", role="img", aria_label=title)


def _percentile(name: str, value: float, low: float, high: float, *, line: int) -> list[Markup]:
    share = min(1.0, max(0.0, (value - low) / ((high - low) or 1)))
    x, y = _LEFT + (_RIGHT - _LEFT) * share, 12 + 14 * line
    anchor = "end" if share > _WORDS_END else "start"
    return [
        tag("line", class_="wish", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=y - 8, y2=_BOTTOM),
        tag(
            "text",
            f"{name} {milliseconds(value)} ms",
            x=f"{x + (-5 if anchor == 'end' else 5):.1f}",
            y=y,
            text_anchor=anchor,
        ),
    ]
