"""Robust accuracy against the variance gap: charts, tables, and a page that needs nothing else."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import NamedTuple

from edgerkd.core.variance_gap import NetworkGaps, VarianceGapReport
from edgerkd.report.document import document
from edgerkd.report.frame import TOP, Frame, Tick
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.parts import NOTHING, bullets, data_table
from edgerkd.report.table import Table
from edgerkd.report.words import percent, sample_words


class _Series(NamedTuple):
    """`points` are (gap, robust accuracy, what the point is) in order; `r` their correlation."""

    name: str
    points: Sequence[tuple[float, float, str]]
    r: float | None


def gap_table(report: VarianceGapReport) -> Table:
    """A row a network and radius."""
    rows = tuple(
        (
            f"{network.name} at {point.eps}",
            str(point.robust_acc),
            f"{point.gap:+.3g}",
            f"{point.relative_gap:+.1%}",
            f"{point.gram_gap:+.4f}",
        )
        for network in report.networks
        for point in network.points
    )
    return Table(("network", "robust accuracy [95%]", "gap", "of the clean variance", "Gram gap"), rows)


def correlation_table(report: VarianceGapReport) -> Table:
    """Pearson's r of robust accuracy and gap: over the radii, over the networks, over the epochs."""
    rows = [
        (f"{network.name}, over {len(network.points)} radii", r_text(network.r), r_text(network.gram_r))
        for network in report.networks
    ]
    rows.append((f"{len(report.networks)} networks at {report.threat_model.eps}", r_text(report.networks_r), ""))
    if report.epochs:
        rows.append(
            (f"{len(report.epochs)} epochs, validation split, attacked until fooled", r_text(report.epochs_r), "")
        )
    return Table(("Pearson's r with robust accuracy", "variance gap", "Gram gap"), tuple(rows))


def r_text(r: float | None) -> str:
    """A correlation, or a dash where there is none."""
    return "-" if r is None else f"{r:+.2f}"


def gap_charts(report: VarianceGapReport) -> Markup:
    """Over radii the gap of variance and that of the Gram matrix; over epochs the former, where they noted it."""
    variance = [
        _over_radii(network, [100 * p.relative_gap for p in network.points], network.r) for network in report.networks
    ]
    gram = [_over_radii(network, [p.gram_gap for p in network.points], network.gram_r) for network in report.networks]
    charts = [
        tag("h3", "Penultimate features"),
        _chart(variance, "variance gap, % of the clean variance"),
        tag("h3", "Prediction scores"),
        _chart(gram, "gap of the norm of their Gram matrix"),
    ]
    if report.epochs:
        epochs = [(100 * epoch.relative_gap, epoch.robust_acc, f"epoch {epoch.epoch}") for epoch in report.epochs]
        charts += [
            tag("h3", "Penultimate features of the student, epoch by epoch"),
            tag(
                "p", "On the validation split, under an attack that leaves an image where it is fooled.", class_="aside"
            ),
            _chart([_Series("student", epochs, report.epochs_r)], "variance gap, % of the clean variance"),
        ]
    return join(*charts)


def render_variance_gap(report: VarianceGapReport) -> str:
    """The whole page; the same report always gives the same text."""
    title = f"Variance gap: {report.run}"
    return document(
        title,
        tag("header", tag("h1", title)),
        tag("main", *variance_gap_parts(report)),
        tag("footer", "Brackets are 95 % Wilson intervals. Every figure stands in variance-gap.json."),
    )


def variance_gap_parts(report: VarianceGapReport) -> tuple[Markup, ...]:
    """What the gap is, its charts, its correlations, and where the published trend fails."""
    how = f"{report.threat_model.norm}, {sample_words(report.n, report.of, report.seed, report.split)}, {report.attack}"
    return (
        tag(
            "p",
            "How far features spread on attacked images, less how far on clean ones. For adversarially trained "
            "networks robust accuracy was published to fall along a line as the gap grows (Dong et al., ECCV 2024). "
            "Each dot is a radius, from no attack to twice the threat model's, each attacked on its own. The radii "
            "are the same images attacked harder and harder: r says how straight a line is, not how certain.",
        ),
        gap_charts(report),
        data_table(correlation_table(report), "-1: robust accuracy falls along a line as the gap grows; -: no r"),
        join(tag("h3", "Notes"), bullets(report.flags)) if report.flags else NOTHING,
        tag(
            "details",
            tag("summary", "Every radius as a table"),
            data_table(gap_table(report), how, kind="scrolls"),
        ),
    )


def _over_radii(network: NetworkGaps, gaps: Sequence[float], r: float | None) -> _Series:
    points = [(gap, p.robust_acc.value, f"at {p.eps}") for gap, p in zip(gaps, network.points, strict=True)]
    return _Series(network.name, points, r)


def _chart(series: Sequence[_Series], axis: str) -> Markup:
    """Robust accuracy from 0 to 1 over the gap; the names stand beside it."""
    gaps = [0.0, *(gap for line in series for gap, _, _ in line.points)]
    low = min(gaps)
    high = low + ((max(gaps) - low) or 1.0)
    ticks = [Tick(value=gap, label=f"{gap:.3g}") for gap in _round_values(low, high)]
    frame = Frame(title=f"Robust accuracy against the {axis}", axis=axis, low=low, high=high, ticks=ticks)
    marks: list[Markup] = []
    for number, line in enumerate(series):
        kind = line.name if line.name in ("student", "teacher") else "other"
        points = [(gap, share) for gap, share, _ in line.points]
        words = [f"{line.name} {what}: gap {gap:+.3g}, robust {percent(share)}" for gap, share, what in line.points]
        marks += [frame.curve(kind, points), *frame.dots(kind, points, words)]
        marks += frame.name(kind, (line.name, f"r {r_text(line.r)}"), y=TOP + 12 + 36 * number)
    return frame.drawn(marks, f"{axis}; " + "; ".join(f"{line.name}: r {r_text(line.r)}" for line in series))


def _round_values(low: float, high: float) -> list[float]:
    """Five or fewer round numbers between the two."""
    tens = 10.0 ** floor(log10((high - low) / 4))
    step = next(tens * k for k in (1, 2, 5, 10) if (high - low) / (tens * k) <= 4)
    return [step * k for k in range(ceil(low / step), floor(high / step) + 1)]
