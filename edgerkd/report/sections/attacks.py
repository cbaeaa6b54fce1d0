"""The attacker in words, each attack's outcome, and the accuracy of other networks and of each class."""

from collections.abc import Sequence

from edgerkd.attacks.words import flag_words
from edgerkd.core.accuracy import Accuracy
from edgerkd.core.evaluation import Row
from edgerkd.report.chart import interval_bar
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, join, tag
from edgerkd.report.parts import NOTHING, bullets, data_table, pairs, section
from edgerkd.report.table import ANYTIME, attack_table, class_table, comparison_rows, conditions, networks
from edgerkd.report.words import NETWORKS, SOURCES, judged_words, missing_words, sample_words, threat_words

_BARS = "Bars: the dot is what was measured, the thick line its interval, the upright line the least required."


def attacks(facts: Facts) -> Markup:
    """The attacker, in words, and each attack's outcome."""
    report, student = facts.verification, facts.student
    if report is not None and not report.rows:  # nothing was attacked
        report = None
    if report is None and student is None:
        return NOTHING
    rows: tuple[Row, ...] = (*(report.rows if report else ()), *(student.rows if student else ()))
    threats = {str(e.threat_model): e.threat_model for e in (report, student) if e is not None}
    parts = [tag("p", tag("strong", f"{name}: "), f"{threat_words(threat)}.") for name, threat in threats.items()]
    parts.append(
        tag(
            "p", "An image counts as robust only if it is answered right untouched and under every attack of the table."
        )
    )
    used = [source for source in SOURCES if any(row.source == source for row in rows)]
    parts.append(pairs([(source, SOURCES[source]) for source in used]))
    if report is not None:
        parts.append(
            _attacks(
                "On the engine",
                report.rows,
                report.robust_acc,
                f"{judged_words(report)}, {report.threat_model}",
                ANYTIME,
            )
        )
    if student is not None:
        sample = sample_words(student.n, student.of, student.seed, student.split)
        where = f"{sample}, {student.threat_model}"
        parts.append(_attacks("On the host, before export", student.rows, student.robust_acc, where))
        parts.append(bullets(map(flag_words, student.flags)))
    return section("What was attacked, and how", *parts, tag("p", _BARS, class_="aside"))


def comparison(facts: Facts) -> Markup:
    """Teacher, student and standard training, as far as they were evaluated."""
    found = networks(facts)
    if not found:
        return NOTHING
    first, *each = conditions(facts)
    return section(
        "Compared with other networks",
        tag("p", first) if each else NOTHING,
        data_table(
            comparison_rows(facts),
            "On the host: " + "; ".join(each or [first]),
            graphics=[interval_bar(e.robust_acc.value, e.robust_acc.low, e.robust_acc.high) for e in found.values()],
            notes=NETWORKS,
        ),
    )


def classes(facts: Facts) -> Markup:
    """Class by class, on the engine or else on the host."""
    report, student = facts.verification, facts.student
    found = report.by_class if report is not None else student.by_class if student is not None else None
    if found is None:
        return NOTHING
    if report is not None and not report.rows:
        return NOTHING  # the plain answer has them
    where, level = ("on the engine", ANYTIME) if report is not None else ("on the host", "95%")
    worst = next((c for c in found.classes if c.name == found.worst), None)
    words = (
        [] if worst is None else [f"The worst class is {worst.name}: {worst.robust_acc} of it withstand the attacks."]
    )
    return section(
        "Class by class",
        tag("p", "An average hides a class that is never recognised."),
        bullets([*words, *missing_words(found)]),
        data_table(class_table(found, level), f"Accuracy {where}; of a few images the interval is wide"),
    )


def _attacks(title: str, rows: Sequence[Row], worst: Accuracy, where: str, level: str = "95%") -> Markup:
    figures = [*(row.robust_acc for row in rows), worst]
    bars = [interval_bar(a.value, a.low, a.high) for a in figures]
    return join(tag("h3", title), data_table(attack_table(tuple(rows), str(worst), level), where, graphics=bars))
