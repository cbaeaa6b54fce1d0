"""The banner with the verdict, the few numbers most readers want, and what is not done yet."""

from edgerkd.core.accuracy import Accuracy
from edgerkd.report.load import Facts, undone
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import NOTHING, bullets, pairs, section, tile, verdict_heading
from edgerkd.report.words import (
    HEADLINES,
    LIMITS,
    device_words,
    headline,
    judged_words,
    milliseconds,
    notes,
    percent,
    reasons,
    sentence,
    threat_words,
)


def verdict(facts: Facts) -> Markup:
    """The banner: the verdict, why, and what exactly it is about."""
    report = facts.verification
    if report is None:
        return tag(
            "section",
            verdict_heading("inconclusive", "NOT VERIFIED"),
            tag("p", "No engine has been attacked. What follows was measured on the host only.", class_="meaning"),
            class_="verdict",
        )
    word, meaning = HEADLINES[report.verdict]
    kind, why = report.verdict.replace(" ", "-"), list(reasons(report))
    if facts.stale:
        word, kind = f"{word}, OUT OF DATE", "inconclusive"
        why.insert(0, "the run's bundle has been exported again since: this verdict is about the earlier one")
    if open_limits := [LIMITS.get(b.limit, b.limit) for b in report.budget if b.ok is None]:
        why.append(f"not judged on this machine: {', '.join(open_limits)}")
    engine = report.engine
    return tag(
        "section",
        verdict_heading(kind, word),
        tag("p", headline(report).removeprefix(HEADLINES[report.verdict][0]).strip(), class_="about"),
        tag("p", sentence(meaning), class_="meaning"),
        bullets(why),
        tag("p", "This verdict is about the following, and about nothing else:"),
        pairs(
            [
                ("backend", f"{engine.backend} {engine.version}"),
                ("device", device_words(engine.device)),
                ("variant", f"{engine.variant}, {engine.precision}"),
                ("engine file", tag("code", f"sha256 {engine.sha256[:12]}")),
                ("threat model", f"{report.threat_model}: {threat_words(report.threat_model)}"),
                ("images", judged_words(report)),
                *(("note", note) for note in notes(report)),
            ]
        ),
        class_=f"verdict {kind}",
    )


def key_figures(facts: Facts) -> Markup:
    """The few numbers most readers want, and where each was measured."""
    report, student = facts.verification, facts.student
    if report is not None:
        retained = next((g for g in report.gates if g.gate == "retention"), None)
        span = f"99 %: {percent(retained.low)} to {percent(retained.high)}" if retained else "same images"
        level = "99 %" if report.rows else "95 %"
        tiles = [
            _accuracy_tile("clean accuracy on the engine", report.clean_acc, level),
        ]
        if report.rows:
            tiles.append(_accuracy_tile("robust accuracy on the engine", report.robust_acc, level))
        if report.retention is not None:
            tiles.append(tile("of the host's robust accuracy retained", percent(report.retention), span))
        median = f"{milliseconds(report.latency_ms.p50)} ms"
        tiles.append(tile("latency, median", median, f"batch {report.latency_ms.batch}"))
    elif student is not None:
        tiles = [
            _accuracy_tile("clean accuracy on the host", student.clean_acc),
            _accuracy_tile("robust accuracy on the host", student.robust_acc),
        ]
    else:
        return NOTHING
    return tag("div", *tiles, class_="tiles")


def not_done(facts: Facts) -> Markup:
    """What the run lacks."""
    lines = undone(facts)
    return section("Not done yet", bullets(lines)) if lines else NOTHING


def _accuracy_tile(label: str, accuracy: Accuracy, level: str = "95 %") -> Markup:
    span = f"{level}: {percent(accuracy.low)} to {percent(accuracy.high)}, {accuracy.n} images"
    return tile(label, percent(accuracy.value), span)
