"""A verification as JUnit XML, which CI systems read. Source of the form: Jenkins' xunit plugin, junit-10.xsd.

A test case for each gate, for each limit of the budget, for parity, and one for the verdict, which is what a build
should hang on. What failed is a <failure>. A gate that is inconclusive, and a verdict that is no pass for want of
evidence, is an <error>: CI systems turn a build red for it, while <skipped> would be taken for green. Only a limit that
cannot be judged on this machine is <skipped>, and a verdict that was not asked for. A run that ends in an error has the
one test case of the verdict, which is an <error>.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from edgerkd.core.text import one_line, printable
from edgerkd.core.verification import Gate, Limit, VerifyReport
from edgerkd.report.words import (
    GATES,
    HEADLINES,
    LIMITS,
    engine_words,
    headline,
    interval,
    judged,
    limit_value,
    parity_words,
    percent,
    reasons,
)

Outcome = Literal["passed", "failure", "error", "skipped"]
_OF_VERDICT: dict[str, Outcome] = {"pass": "passed", "fail": "failure", "measured": "skipped"}
"""Whatever else is no pass is an error."""
_LONGEST = 1000  # characters of a text; ours


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    name: str
    outcome: Outcome
    words: str


def junit_xml(report: VerifyReport) -> str:
    """The whole file, well-formed whatever the names are."""
    cases = tuple(_cases(report))
    suite = _suite(f"edgerkd verify {report.bundle}", [case.outcome for case in cases])
    properties = SubElement(suite, "properties")
    for name, value in (
        ("engine", engine_words(report.engine)),
        ("engine sha256", report.engine.sha256),
        ("manifest sha256", report.manifest_sha256),
        ("threat model", str(report.threat_model)),
        ("seed", str(report.seed)),
    ):
        SubElement(properties, "property", name=name, value=_text(value))
    for case in cases:
        element = SubElement(suite, "testcase", classname=_text(f"edgerkd.{report.bundle}"), name=_text(case.name))
        if case.outcome == "passed":
            SubElement(element, "system-out").text = _text(case.words)
        else:
            SubElement(element, case.outcome, message=_text(case.words))
    return _file(suite)


def junit_error(message: str, *, kind: str) -> str:
    """The file of a run without a report, because of an error of this `kind`: no verdict, which is red."""
    suite = _suite("edgerkd verify", ["error"])
    case = SubElement(suite, "testcase", classname="edgerkd", name="verdict")
    SubElement(case, "error", type=_text(kind), message=_text(one_line(message)))
    return _file(suite)


def _suite(name: str, outcomes: Sequence[Outcome]) -> Element:
    return Element(
        "testsuite",
        name=_text(name),
        tests=str(len(outcomes)),
        failures=str(outcomes.count("failure")),
        errors=str(outcomes.count("error")),
        skipped=str(outcomes.count("skipped")),
    )


def _file(suite: Element) -> str:
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _cases(report: VerifyReport) -> Iterator[_Case]:
    why = "; ".join([headline(report), *reasons(report)])
    yield _Case(name="verdict", outcome=_OF_VERDICT.get(report.verdict, "error"), words=why)
    yield _Case(name="parity", outcome="passed" if report.parity.ok else "failure", words=parity_words(report))
    for gate in report.gates:
        yield _Case(
            name=f"gate: {GATES.get(gate.gate, gate.gate)}",
            outcome=_OF_VERDICT.get(gate.verdict, "error"),
            words=_gate(gate),
        )
    for limit in report.budget:
        outcome: Outcome = "skipped" if limit.ok is None else "passed" if limit.ok else "failure"
        yield _Case(name=f"limit: {LIMITS.get(limit.limit, limit.limit)}", outcome=outcome, words=_limit(limit))


def _gate(gate: Gate) -> str:
    measured = interval(gate.measured, gate.low, gate.high)
    return f"{HEADLINES[gate.verdict][0].lower()}: measured {measured}, required at least {percent(gate.required)}"


def _limit(limit: Limit) -> str:
    measured, required = (limit_value(limit.limit, value) for value in (limit.measured, limit.required))
    return f"{judged(limit)}: measured {measured}, required at most {required}"


def _text(text: str) -> str:
    """What XML 1.0 can hold: characters that it cannot are shown as their codes, or as U+FFFD. Source: XML 1.0, 2.2."""
    return re.sub("[\ufffe\uffff]", "\ufffd", printable(text, _LONGEST))
