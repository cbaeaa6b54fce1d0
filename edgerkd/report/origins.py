"""Who says what, in words."""

from collections.abc import Mapping

from edgerkd.core.origin import Asker, Origin
from edgerkd.core.verification import VerifyReport

ORIGIN_WORDS: dict[Origin, str] = {
    "measured": "measured here",
    "claimed": "claimed by the bundle",
    "brought": "brought by the verifier",
}
ASKER_WORDS: dict[Asker, str] = {
    "teacher": "teacher (claim)",
    "profile": "profile",
    "maker": "maker",
    "verifier": "verifier",
}
ACCURACIES = ("clean_acc", "robust_acc")
"""Gates of which what a bundle asks is raised to a little above chance."""
_SHOWN = {
    "samples": "images and labels",
    "threat_model": "radius",
    "requirement": "what is required",
    "clean_acc": "accuracy",
    "robust_acc": "robust accuracy, row by row and class by class",
    "parity": "parity",
    "gradients": "gradient check",
    "retention": "what retention is a share of",
    "reference": "host's and teacher's accuracies",
    "latency_ms": "latency",
    "engine_memory": "memory that the engine took",
    "engine": "engine's digest and device",
}
"""Fields that a reader looks for, in words. The others stand in verify.json under `origins`."""


def asker_words(report: VerifyReport, name: str) -> str:
    """Who asks a gate or a limit; chance, where it asks for more of an accuracy than they do."""
    asker = report.origins.thresholds.get(name)
    if asker is None:
        return "-"
    raised = name in ACCURACIES and asker != "verifier" and report.requirement.gates.get(name) == report.plain.floor
    return f"chance; {ASKER_WORDS[asker]} less" if raised else ASKER_WORDS[asker]


def figure_mark(report: VerifyReport, name: str) -> str:
    """What stands behind the measured side of a limit that only the bundle says."""
    return " (claimed)" if report.origins.figures.get(name) == "claimed" else ""


def origin_notes(report: VerifyReport) -> tuple[str, ...]:
    """What a verdict cannot say because of who said or brought it."""
    found: list[str] = []
    if "teacher" in report.origins.thresholds.values():
        found.append(
            "gates that the teacher sets are shares of accuracies that only the bundle says it reached: a lower claim "
            "makes them easier, --min-clean and --min-robust replace them"
        )
    if report.rows and report.reference is not None and report.retention is None:
        found.append(
            "retention is not judged: the bundle does not say what the host's model holds on these images within this "
            "radius"
        )
    return tuple(found)


def origin_lines(report: VerifyReport, names: Mapping[str, str]) -> tuple[str, ...]:
    """A line for each of the three, with what it says; `names` are those of limits."""
    there = {
        "retention": report.retention is not None,
        "reference": report.reference is not None,
        "robust_acc": bool(report.rows),
        "gradients": bool(report.rows),
        "engine_memory": report.engine_memory is not None and report.engine_memory.measured is not None,
        "requirement": report.requirement.asks_accuracy,
    }
    found: list[str] = []
    for origin, words in ORIGIN_WORDS.items():
        fields = report.origins.fields
        shown = [text for field, text in _SHOWN.items() if fields.get(field) == origin and there.get(field, True)]
        shown += [
            names.get(limit.limit, limit.limit)
            for limit in report.budget
            if limit.measured is not None and report.origins.figures.get(limit.limit) == origin
        ]
        if shown:
            found.append(f"{words}: {', '.join(shown)}")
    return tuple(found)
