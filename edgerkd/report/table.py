"""The facts as tables of text: for the terminal and for the page alike."""

from edgerkd.attacks.words import title_of
from edgerkd.core.by_class import ByClass
from edgerkd.core.evaluation import Evaluation, Row
from edgerkd.core.units import format_count
from edgerkd.core.verification import VerifyReport
from edgerkd.report.load import Facts
from edgerkd.report.origins import asker_words, figure_mark, origin_lines
from edgerkd.report.plain import memory_lines, plain_lines, plain_table, samples_words, timing_lines
from edgerkd.report.text_table import Table, table_text
from edgerkd.report.words import (
    GATES,
    HEADLINES,
    LIMITS,
    engine_words,
    headline,
    interval,
    judged,
    judged_words,
    limit_value,
    milliseconds,
    missing_words,
    notes,
    percent,
    reasons,
    sample_words,
)

MOST, MANY = 20, 10  # classes that a table lists in full, and how many of more; ours
ANYTIME = "99%"
"""Of each end of an interval of a verification, however early it was decided."""
UNLIKE = "These were not measured alike: compare with care."


def networks(facts: Facts) -> dict[str, Evaluation]:
    """The networks that were evaluated, by what they are."""
    found = {"teacher": facts.teacher, "student": facts.student, "standard-trained": facts.baseline}
    return {name: evaluation for name, evaluation in found.items() if evaluation is not None}


def comparison_rows(facts: Facts) -> Table:
    """Teacher, student and standard-trained student side by side."""
    rows = tuple(
        (name, format_count(e.cost.params), format_count(e.cost.macs), str(e.clean_acc), str(e.robust_acc))
        for name, e in networks(facts).items()
    )
    return Table(("network", "params", "MACs", "clean acc. [95%]", "robust acc. [95%]"), rows)


def conditions(facts: Facts) -> tuple[str, ...]:
    """How the networks of `comparison_rows` were attacked: one line where all alike, else a warning and one each."""
    found = {
        name: f"{e.threat_model}, {sample_words(e.n, e.of, e.seed, e.split)}, {_titles(e)}"
        for name, e in networks(facts).items()
    }
    if len(set(found.values())) <= 1:
        return tuple(found.values())[:1]
    return (UNLIKE, *(f"{name}: {how}" for name, how in found.items()))


def _titles(evaluation: Evaluation) -> str:
    return ", ".join(title_of(row.attack) for row in evaluation.rows)


def class_table(found: ByClass, level: str = "95%") -> Table:
    """Class by class, the worst first where there are many: then the ten worst alone. `level` is the intervals'."""
    classes = sorted(found.classes, key=lambda c: (c.robust_acc.value, c.clean_acc.value))
    shown = classes[:MANY] if len(classes) > MOST else list(found.classes)
    rows = [(c.name, str(c.clean_acc.n), str(c.clean_acc), str(c.robust_acc)) for c in shown]
    if len(shown) < len(classes):
        rows.append((f"({len(classes) - len(shown)} more robust)", "", "", ""))
    elif classes and classes[0].robust_acc.value < classes[-1].robust_acc.value:
        rows = [(f"{name} (worst)" if name == found.worst else name, *rest) for name, *rest in rows]
    return Table(("class", "images", f"clean acc. [{level}]", f"robust acc. [{level}]"), tuple(rows))


def gate_table(report: VerifyReport) -> Table:
    """What was required of the engine, and what it did."""
    rows = tuple(
        (
            GATES.get(g.gate, g.gate),
            f"at least {percent(g.required)}",
            interval(g.measured, g.low, g.high),
            g.verdict,
            asker_words(report, g.gate),
        )
        for g in report.gates
    )
    return Table(("gate", "required", f"measured [{ANYTIME}]", "verdict", "asked by"), rows)


def attack_table(rows: tuple[Row, ...], worst: str, level: str = "95%") -> Table:
    """Each attack, and the worst case over all of them, which is the robust accuracy. `level` is the intervals'."""
    lines = tuple((title_of(row.attack), row.source, str(row.robust_acc)) for row in rows)
    return Table(("attack", "source", f"robust accuracy [{level}]"), (*lines, ("worst case", "all of them", worst)))


def budget_table(report: VerifyReport) -> Table:
    """Each limit of the profile."""
    rows = tuple(
        (
            LIMITS.get(b.limit, b.limit),
            limit_value(b.limit, b.required),
            limit_value(b.limit, b.measured) + figure_mark(report, b.limit),
            judged(b),
        )
        for b in report.budget
    )
    return Table(("limit", "at most", "measured", "verdict"), rows)


def parity_table(report: VerifyReport) -> Table:
    """Is the engine the network the host measured?"""
    parity, found = report.parity, report.gradients
    rows = (
        ("images compared", f"{parity.n}", ""),
        ("largest difference of a logit", f"{parity.max_abs_dlogit:.3g}", f"at most {parity.limit:.3g}"),
        ("same answer", f"{parity.agreement:.2%}", "always, where the host is decided"),
        ("gradient twin gives the same answer", f"{report.twin_agreement:.2%}", ""),
        *(_slopes(report) if found.points else ()),
        ("the same network", "yes" if parity.ok else "NO", ""),
    )
    return Table(("parity", "measured", "required"), rows)


def _slopes(report: VerifyReport) -> tuple[tuple[str, str, str], ...]:
    found = report.gradients
    return (
        (
            "twin's slope is the engine's",
            f"{found.agreeing} of {found.points}, {found.disagreeing} wrong, {found.flat} flat",
            f"at most {found.allowed} wrong",
        ),
        (
            "correlation of random slopes",
            f"{found.correlation:.3f} [{found.low:.3f}, {found.high:.3f}]",
            f"at least {found.required:.2f}",
        ),
    )


def latency_table(report: VerifyReport) -> Table:
    """How long one batch takes."""
    latency = report.latency_ms
    row = (
        f"batch {latency.batch}",
        *(milliseconds(ms) for ms in (latency.p50, latency.p95, latency.p99)),
        f"{latency.runs}",
    )
    return Table(("latency", "p50 ms", "p95 ms", "p99 ms", "runs"), (row,))


def verdict_lines(report: VerifyReport) -> list[str]:
    """The verdict with its scope: without the scope it means nothing."""
    lines = [headline(report), f"  {HEADLINES[report.verdict][1]}"]
    lines += [f"  because: {reason}" for reason in reasons(report)]
    made = f"{report.threat_model}, {judged_words(report)}, seed {report.seed}" if report.rows else "none"
    lines += [
        f"  engine:  {engine_words(report.engine)}",
        f"  attacks: {made}",
        f"  images:  {samples_words(report.samples)}",
        f"  bundle:  {report.bundle}, manifest sha256 {report.manifest_sha256[:12]}",
    ]
    lines += [f"  latency: {line}" for line in timing_lines(report.timing)]
    lines += [f"  memory:  {line}" for line in memory_lines(report.engine_memory)]
    lines += [f"  origin:  {line}" for line in origin_lines(report, LIMITS)]
    return lines + [f"  note:    {note}" for note in (*missing_words(report.by_class), *notes(report))]


def verification_text(report: VerifyReport, width: int = 80) -> str:
    """All that `edgerkd verify` found, the plain answer first, in tables of `width` columns, and the verdict last."""
    attacked = (attack_table(report.rows, str(report.robust_acc), ANYTIME),) if report.rows else ()
    classes = class_table(report.by_class, ANYTIME) if report.rows else plain_table(report.plain)
    tables = (
        gate_table(report),
        *attacked,
        budget_table(report),
        parity_table(report),
        latency_table(report),
        classes,
    )
    parts = ["\n".join(plain_lines(report.plain)), *(table_text(table, width) for table in tables if table.rows)]
    return "\n\n".join([*parts, "\n".join(verdict_lines(report))]) + "\n"
