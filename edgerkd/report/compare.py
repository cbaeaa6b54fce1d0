"""Two verifications side by side: figures, paired differences where the images are the same, and what changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgerkd.bundle.kept import Kept
from edgerkd.core.accuracy import Accuracy
from edgerkd.core.comparison import Paired, paired
from edgerkd.core.errors import ConfigError
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.run import RunFolder
from edgerkd.core.verification import VerifyReport
from edgerkd.core.verify_comparison import VerifyComparison, changes_of, differences_of
from edgerkd.files.decode import decode_json
from edgerkd.files.paths import find_kind, shown
from edgerkd.report.chart import interval_bar
from edgerkd.report.document import document
from edgerkd.report.load import load_kept, newest_verification, verification_path
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import NOTHING, bullets, data_table, pairs, section, verdict_heading
from edgerkd.report.table import ANYTIME, Table
from edgerkd.report.words import (
    GATES,
    HEADLINES,
    LIMITS,
    engine_words,
    headline,
    interval,
    judged,
    limit_value,
    milliseconds,
    percent,
)

_PAIRED = (
    "Both judged these very images. The difference is the first's accuracy less the second's, in points, with "
    "Newcombe's paired 95 % interval; p is McNemar's exact test: how likely so uneven a split is between equals."
)


def compare(first: Path, second: Path) -> VerifyComparison:
    """The comparison of two verifications, each a report's file, a bundle, or the folder of a run.

    Raises ConfigError where there is no verification, ArtefactError for a damaged file.
    """
    paths = [report_in(path) for path in (first, second)]
    reports = [decode_json(VerifyReport, path) for path in paths]
    kept = [load_kept(path, report) for path, report in zip(paths, reports, strict=True)]
    return compared(reports[0], reports[1], kept[0], kept[1])


def report_in(path: Path) -> Path:
    """The file of a verification. Raises ConfigError where there is none."""
    kind = find_kind(path)
    if kind == "a file":
        return path
    found = None
    if kind == "a folder":
        path = path.resolve()
        is_bundle = (path / MANIFEST).is_file()
        found = verification_path(RunFolder(path.parent, bundle_name=path.name) if is_bundle else RunFolder(path))
        if found is None and not is_bundle:
            found = newest_verification(path)
    if found is None:
        raise ConfigError(
            f"--compare: {shown(path)} has no verification: name a report of `edgerkd verify`, a bundle that was "
            "verified, or the folder of a run."
        )
    return found


def compared(first: VerifyReport, second: VerifyReport, one: Kept | None, other: Kept | None) -> VerifyComparison:
    """The comparison of two reports with what was kept beside them."""
    clean = robust = None
    common, same = 0, _images_told(first) == _images_told(second)
    if one is not None and other is not None:
        both, rows, other_rows = np.intersect1d(one.ids, other.ids, return_indices=True)
        common, same = len(both), len(both) == len(one.ids) == len(other.ids)
        if common:
            clean = paired(one.clean[rows].tolist(), other.clean[other_rows].tolist())
            robust = paired(one.robust[rows].tolist(), other.robust[other_rows].tolist())
    return VerifyComparison(
        first=first,
        second=second,
        common=common,
        clean=clean,
        robust=robust,
        changes=changes_of(first, second),
        unlike=differences_of(first, second, same_images=same),
    )


def _images_told(report: VerifyReport) -> object:
    """Which images were judged, as far as a report alone says it."""
    return report.manifest_sha256, report.samples, sorted(report.judged.images)


def figures_table(found: VerifyComparison) -> Table:
    """Both engines, figure by figure."""

    def row(name: str, words: Callable[[VerifyReport], str]) -> tuple[str, ...]:
        return (name, words(found.first), words(found.second))

    return Table(
        ("figure", "first", "second"),
        (
            row("verdict", lambda report: HEADLINES[report.verdict][0]),
            row("engine", lambda report: engine_words(report.engine)),
            row("bundle", lambda report: f"{report.bundle}, {report.manifest_sha256[:12]}"),
            row("threat model", lambda report: str(report.threat_model)),
            row("images", lambda report: f"{report.clean_acc.n}"),
            row("clean accuracy", lambda report: str(report.clean_acc)),
            row("robust accuracy", lambda report: str(report.robust_acc) if report.rows else "not attacked"),
            row("retention", lambda report: "-" if report.retention is None else percent(report.retention)),
            row("latency, median", lambda report: f"{milliseconds(report.latency_ms.p50)} ms"),
            row("latency, p99", lambda report: f"{milliseconds(report.latency_ms.p99)} ms"),
        ),
    )


def judged_table(found: VerifyComparison) -> Table:
    """Gates and limits of either, with both verdicts."""
    rows: dict[str, list[str]] = {}
    for place, report in enumerate((found.first, found.second)):
        for gate in report.gates:
            words = f"{gate.verdict}: {interval(gate.measured, gate.low, gate.high)}, of {percent(gate.required)}"
            rows.setdefault(GATES.get(gate.gate, gate.gate), ["-", "-"])[place] = words
        for limit in report.budget:
            measured, required = (limit_value(limit.limit, value) for value in (limit.measured, limit.required))
            words = f"{judged(limit)}: {measured}, of {required}"
            rows.setdefault(LIMITS.get(limit.limit, limit.limit), ["-", "-"])[place] = words
    return Table(("gate or limit", "first", "second"), tuple((name, *words) for name, words in rows.items()))


def paired_table(found: VerifyComparison) -> Table:
    """The images that both judged."""
    headers = ("images", "both right", "only first", "only second", "neither", "difference", "p")
    parts = {"clean": found.clean, "robust": found.robust}
    return Table(headers, tuple(pair_row(name, part) for name, part in parts.items() if part is not None))


def pair_row(name: str, part: Paired) -> tuple[str, ...]:
    """The counts of pairs, their difference with its interval, and its p."""
    counts = (str(count) for count in (part.both, part.only_first, part.only_second, part.neither))
    return (name, *counts, str(part), f"{part.p_value:.3g}")


def change_words(found: VerifyComparison) -> tuple[str, ...]:
    """What was judged otherwise, then what was not alike."""
    names = {**GATES, **LIMITS}
    lines = [
        f"{names.get(each.name, each.name)}: {each.first or 'not asked'}, then {each.second or 'not asked'}"
        for each in found.changes
    ]
    if found.unlike:
        lines.append(f"not alike in how they were made: {', '.join(found.unlike)}")
    if not (found.first.rows and found.second.rows):
        lines.append("at least one of them attacked nothing: no images are paired")
    elif found.robust is None:
        lines.append("no image is known to be in both: nothing is paired")
    elif "images" in found.unlike:
        lines.append(f"{found.common} images are in both, and only these are paired")
    return tuple(lines)


def render_comparison(found: VerifyComparison) -> str:
    """The whole page; the same comparison always gives the same text."""
    title = f"Two verifications: {found.first.bundle} and {found.second.bundle}"
    both = (("First", found.first), ("Second", found.second))
    return document(
        title,
        tag("header", tag("h1", title), tag("p", "What changed from the first to the second, and by how much.")),
        tag(
            "main",
            tag("div", *(_banner(name, report) for name, report in both), class_="two"),
            section("What changed", bullets(change_words(found)) or tag("p", "Nothing was judged otherwise.")),
            section(
                "Side by side",
                data_table(figures_table(found), "Figures of both engines", kind="stacks wraps"),
                _bars(found, "clean accuracy", lambda report: report.clean_acc),
                _bars(found, "robust accuracy", lambda report: report.robust_acc)
                if found.first.rows and found.second.rows
                else NOTHING,
            ),
            _pairs_section(found),
            section(
                "Gates and limits",
                data_table(judged_table(found), "Each with its verdict and measure", kind="stacks wraps"),
            ),
        ),
        tag("footer", "Every figure stands in the two reports of `edgerkd verify` and in what lies beside them."),
    )


def _banner(name: str, report: VerifyReport) -> Markup:
    word, kind = HEADLINES[report.verdict][0], report.verdict.replace(" ", "-")
    return tag(
        "section",
        verdict_heading(kind, f"{name}: {word}"),
        tag("p", headline(report).removeprefix(word).strip(), class_="about"),
        pairs([("bundle", report.bundle), ("variant", report.engine.variant), ("images", f"{report.clean_acc.n}")]),
        class_=f"verdict {kind}",
    )


def _bars(found: VerifyComparison, name: str, accuracy: Callable[[VerifyReport], Accuracy]) -> Markup:
    both = {"first": accuracy(found.first), "second": accuracy(found.second)}
    rows = tuple((which, str(each)) for which, each in both.items())
    bars = [interval_bar(each.value, each.low, each.high) for each in both.values()]
    level = ANYTIME if found.first.rows and found.second.rows else "95%, where attacked 99%"
    return data_table(Table((name, f"measured [{level}]"), rows), name, graphics=bars)


def _pairs_section(found: VerifyComparison) -> Markup:
    if found.robust is None:
        return NOTHING
    return section(
        "Image by image", tag("p", _PAIRED), data_table(paired_table(found), f"{found.common} images, paired")
    )
