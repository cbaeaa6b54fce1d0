"""Robust accuracy against the variance gap: charts, tables, and a page that needs nothing else."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import NamedTuple

from edgerkd.core.correlation import fisher_interval
from edgerkd.core.variance_gap import GAPS, Correlations, Gaps, NetworkGaps, VarianceGapReport
from edgerkd.report.document import document
from edgerkd.report.frame import TOP, Frame, Tick
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.parts import NOTHING, bullets, data_table
from edgerkd.report.table import Table
from edgerkd.report.words import percent, sample_words

DRAWN = {
    "within_share": ("Penultimate features: within-class share of their variance", "its change, points"),
    "gram": ("Prediction scores: Gram matrix", "relative distance, %"),
    "covariance": ("Penultimate features: covariance", "relative distance, %"),
}
"""The gaps that have charts, with title and axis; the others stand in the tables."""

COLUMNS = ("covar.", "Gram", "within", "share", "between", "total")
"""Of the gaps in tables, in the order of `Gaps`; short, so that they fit into 80 columns."""

LEGEND = (
    "gaps in %: covar., Gram: relative distance of the penultimate features' covariances, of the scores' Gram "
    "matrices; within, between, total: change of the features' variance within classes, between them, and of both, "
    "over the clean total; share: change of the within-class share, in points"
)

NAMED = 5  # networks named beside a chart, two lines each; ours

ACROSS = (
    "Networks compared at one radius are what informs, with clean accuracy as a control. Over the radii of one network "
    "almost any distance that grows with the radius goes with robust accuracy, and so does the radius itself: weak "
    "evidence."
)
SIGNED = (
    "A signed change of the total variance is no distance: it adds two opposite trends, since under attack the "
    "variance between classes falls while that within classes grows."
)


class _Series(NamedTuple):
    """`points` are (gap, robust accuracy, what the point is) in order; `r` their correlation."""

    name: str
    points: Sequence[tuple[float, float, str]]
    r: float | None


def gap_table(report: VarianceGapReport) -> Table:
    """A row a network and radius, in the units of `LEGEND`."""
    rows = tuple(
        (f"{network.name} at {point.eps}", str(point.robust_acc), *_gap_texts(point.gaps))
        for network in report.networks
        for point in network.points
    )
    return Table(("network", "robust accuracy [95%]", *COLUMNS), rows)


def _gap_texts(gaps: Gaps) -> tuple[str, ...]:
    distances = (f"{100 * gaps.covariance:.1f}", f"{100 * gaps.gram:.1f}")
    changes = (gaps.within_class, gaps.within_share, gaps.between_class, gaps.total)
    return *distances, *(f"{100 * change:+.1f}" for change in changes)


def across_table(report: VarianceGapReport) -> Table:
    """Pearson's r of robust accuracy and each gap over the networks at one radius; no rows for fewer than three."""
    n, found = len(report.networks), report.networks_r
    titles = {"clean_acc": "clean accuracy (control)", **GAPS}
    rows = () if found is None else tuple((title, *_r_cells(getattr(found, name), n)) for name, title in titles.items())
    return Table((f"{n} networks at {report.threat_model.eps}", "r with robust accuracy", "[95%]"), rows)


def _r_cells(r: float | None, n: int) -> tuple[str, str]:
    interval = None if r is None else fisher_interval(r, n)
    return r_text(r), "-" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"


def radii_table(report: VarianceGapReport) -> Table:
    """Pearson's r of robust accuracy and each gap within a network: over the radii, and over the epochs."""
    rows = [(f"{network.name}, over {len(network.points)} radii", *_r_row(network.r)) for network in report.networks]
    if report.epochs:
        own = [r_text(report.epochs_r) if name == "within_share" else "" for name in GAPS]
        rows.append((f"{len(report.epochs)} epochs (validation)", "", *own))
    return Table(("r with robust accuracy", "radius", *COLUMNS), tuple(rows))


def _r_row(found: Correlations) -> tuple[str, ...]:
    return tuple(r_text(getattr(found, name)) for name in ("radius", *GAPS))


def r_text(r: float | None) -> str:
    """A correlation, or a dash where there is none."""
    return "-" if r is None else f"{r:+.2f}"


def gap_charts(report: VarianceGapReport) -> Markup:
    """Of each gap a panel over the radii of each network, and one across networks; then one over epochs, if any."""
    charts = [part for name in DRAWN for part in _panels(report, name)]
    if report.epochs:
        epochs = [(100 * epoch.within_share, epoch.robust_acc, f"epoch {epoch.epoch}") for epoch in report.epochs]
        charts += [
            tag("h3", "The student, epoch by epoch"),
            tag(
                "p", "On the validation split, under an attack that leaves an image where it is fooled.", class_="aside"
            ),
            _chart([_Series("student", epochs, report.epochs_r)], "change of the within-class share, points"),
        ]
    return join(*charts)


def _panels(report: VarianceGapReport, gap: str) -> tuple[Markup, Markup]:
    title, axis = DRAWN[gap]
    left = _chart([_over_radii(network, gap) for network in report.networks], f"{axis}; over radii")
    right = NOTHING
    if report.networks_r is not None:
        eps, r = report.threat_model.eps, getattr(report.networks_r, gap)
        right = _chart(_networks_at(report, gap), f"{axis}; networks at {eps}", joined=False, note=f"r {r_text(r)}")
    return tag("h3", title), tag("div", left, right, class_="beside")


def render_variance_gap(report: VarianceGapReport) -> str:
    """The whole page; the same report always gives the same text."""
    title = f"Variance gap: {report.run}"
    return document(
        title,
        tag("header", tag("h1", title)),
        tag("main", *variance_gap_parts(report)),
        tag(
            "footer",
            "Brackets are 95 % intervals: Wilson's of accuracies, Fisher's of correlations. Every figure stands in "
            "variance-gap.json.",
        ),
    )


def variance_gap_parts(report: VarianceGapReport) -> tuple[Markup, ...]:
    """What the gaps are, their charts, their correlations, and where the published trend fails."""
    how = f"{report.threat_model.norm}, {sample_words(report.n, report.of, report.seed, report.split)}, {report.attack}"
    across, few = across_table(report), "Robust accuracy against each gap, across networks"
    return (
        tag(
            "p",
            "How far features and scores of attacked images lie from those of the same images untouched: 0 where "
            "nothing moved. For adversarially trained networks robust accuracy was published to fall along a line as "
            "the gap of variances grows (Dong et al., ECCV 2024). A dot at the left is a radius, from no attack to "
            "twice the threat model's, each attacked on its own; at the right it is a network at the threat model's.",
        ),
        gap_charts(report),
        tag("p", ACROSS),
        data_table(across, f"{few}; -1: it falls along a line as the gap grows") if across.rows else NOTHING,
        data_table(
            radii_table(report),
            "Within a network: the radii are the same images attacked harder and harder, so r says how straight a "
            "line is, not how certain. The radius itself is a control; -: no r",
            kind="scrolls",
        ),
        tag("p", SIGNED),
        join(tag("h3", "Notes"), bullets(report.flags)) if report.flags else NOTHING,
        tag(
            "details",
            tag("summary", "Every radius as a table"),
            data_table(gap_table(report), f"{how}; {LEGEND}", kind="scrolls"),
        ),
    )


def _over_radii(network: NetworkGaps, gap: str) -> _Series:
    points = [(100 * getattr(p.gaps, gap), p.robust_acc.value, f"at {p.eps}") for p in network.points]
    return _Series(network.name, points, getattr(network.r, gap))


def _networks_at(report: VarianceGapReport, gap: str) -> list[_Series]:
    """A dot a network."""
    at = [(network.name, network.at(report.threat_model.eps)) for network in report.networks]
    return [_Series(name, [(100 * getattr(p.gaps, gap), p.robust_acc.value, f"at {p.eps}")], None) for name, p in at]


def _chart(series: Sequence[_Series], axis: str, *, joined: bool = True, note: str = "") -> Markup:
    """Robust accuracy from 0 to 1 over the gap: a line each where `joined`, its name and r beside it, else dots."""
    gaps = [0.0, *(gap for line in series for gap, _, _ in line.points)]
    low = min(gaps)
    high = low + ((max(gaps) - low) or 1.0)
    ticks = [Tick(value=gap, label=f"{gap:.3g}") for gap in _round_values(low, high)]
    frame = Frame(title=f"Robust accuracy against the {axis}", axis=axis, low=low, high=high, ticks=ticks)
    marks: list[Markup] = []
    for line in series:
        points = [(gap, share) for gap, share, _ in line.points]
        words = [f"{line.name} {what}: gap {gap:+.3g}, robust {percent(share)}" for gap, share, what in line.points]
        marks += [frame.curve(_kind(line), points)] if joined else []
        marks += frame.dots(_kind(line), points, words)
    lines = [f"{line.name}: r {r_text(line.r)}" for line in series] if joined else [note]
    return frame.drawn([*marks, *_names(frame, series if joined else (), note)], f"{axis}; " + "; ".join(lines))


def _names(frame: Frame, series: Sequence[_Series], note: str) -> list[Markup]:
    """Right of a chart: the first networks with their r, and how many more there are; or the note."""
    marks: list[Markup] = []
    for number, line in enumerate(series[:NAMED]):
        marks += frame.name(_kind(line), (line.name, f"r {r_text(line.r)}"), y=TOP + 12 + 36 * number)
    more = f"and {len(series) - NAMED} more" if len(series) > NAMED else note
    return marks + (frame.name("other", (more,), y=TOP + 12 + 36 * min(len(series), NAMED)) if more else [])


def _kind(line: _Series) -> str:
    return line.name if line.name in ("student", "teacher") else "other"


def _round_values(low: float, high: float) -> list[float]:
    """Five or fewer round numbers between the two."""
    tens = 10.0 ** floor(log10((high - low) / 4))
    step = next(tens * k for k in (1, 2, 5, 10) if (high - low) / (tens * k) <= 4)
    return [step * k for k in range(ceil(low / step), floor(high / step) + 1)]
