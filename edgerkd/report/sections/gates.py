"""What was required of the engine: gates, the budget, and that it is the network which was trained."""

from edgerkd.report.chart import budget_bar, interval_bar
from edgerkd.report.load import Facts
from edgerkd.report.markup import Markup, tag
from edgerkd.report.parts import NOTHING, data_table, section
from edgerkd.report.table import budget_table, gate_table, parity_table
from edgerkd.report.words import GATES, GATES_MEANING, judged, judged_words


def gates(facts: Facts) -> Markup:
    """Required and measured."""
    report = facts.verification
    if report is None or not report.gates:
        return NOTHING
    bars = [interval_bar(g.measured, g.low, g.high, g.required) for g in report.gates]
    return section(
        "Gates",
        tag(
            "p",
            "A gate passes when its whole interval is at or above the threshold, fails when all of it is below, and is "
            "inconclusive in between: then more images are needed. The interval holds however often one looks: the "
            "chance of a wrong pass is at most 1 %, and so is that of a wrong fail.",
        ),
        data_table(
            gate_table(report),
            judged_words(report),
            graphics=bars,
            notes={GATES[gate]: words for gate, words in GATES_MEANING.items()},
        ),
    )


def budget(facts: Facts) -> Markup:
    """The device's limits."""
    report = facts.verification
    if report is None or not report.budget:
        return NOTHING
    target = report.target
    return section(
        "Budget",
        data_table(
            budget_table(report),
            "The limits" if target is None else f"Profile {target.profile}: {target.title}",
            graphics=[budget_bar(b.measured, b.required, judged(b)) for b in report.budget],
        ),
        tag(
            "p",
            "Bars: what was measured, against the upright line, which is the limit. Parameters, multiply-accumulates "
            "and peak memory are counted on the network, in float32; the file and the latency are the engine's own.",
            class_="aside",
        ),
    )


def parity(facts: Facts) -> Markup:
    """Is the engine the student?"""
    report = facts.verification
    if report is None:
        return NOTHING
    return section(
        "Is the engine the network that was trained?",
        tag(
            "p",
            "The engine and the host answered the same clean and adversarial images. If their logits differ, "
            "nothing else on this page speaks about the engine. The gradient twin is the graph that tells the "
            "attack how to change an image: where it disagrees with the engine, the attack aims badly.",
        ),
        data_table(parity_table(report), "Logits of the engine against the host's"),
    )
