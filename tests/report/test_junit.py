"""JUnit XML, read back by an XML parser."""

import re
from dataclasses import replace
from xml.etree.ElementTree import Element, fromstring

import pytest

from edgerkd.core.verification import VerifyReport
from edgerkd.report.junit import junit_error, junit_xml
from tests.report import samples


def suite(report: VerifyReport) -> Element:
    (found,) = fromstring(junit_xml(report))
    return found


def outcomes(report: VerifyReport) -> dict[str, str]:
    """What each test case ended with, by its name."""
    cases = suite(report).findall("testcase")
    return {str(case.get("name")): case[0].tag for case in cases}


@pytest.mark.parametrize(
    ("verdict", "of_verdict", "of_gate"),
    [
        ("pass", "system-out", "system-out"),
        ("fail", "failure", "failure"),
        ("inconclusive", "error", "error"),
        ("measured", "skipped", None),
    ],
)
def test_each_verdict_has_an_outcome(verdict, of_verdict, of_gate):
    """Catches a build that is green although the engine did not pass."""
    found = outcomes(samples.verification(verdict))
    assert found["verdict"] == of_verdict
    assert found.get("gate: robust accuracy") == of_gate


def test_a_pass_that_nothing_backs_is_no_pass():
    """Catches a bundle's own claim, which ends with another exit code, taken for green."""
    report = replace(samples.verification(), verdict="pass as claimed")
    assert outcomes(report)["verdict"] == "error"


def test_counts_are_those_of_the_cases():
    """Catches totals that a CI system shows and no case bears out."""
    for verdict in ("pass", "fail", "inconclusive", "measured"):
        found = suite(samples.verification(verdict))
        cases = found.findall("testcase")
        assert int(str(found.get("tests"))) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(str(found.get(attribute))) == len(found.findall(f"testcase/{tag}"))


def test_each_gate_and_limit_is_a_case_with_its_words():
    """Catches a case left out, a limit that nobody could judge taken for kept, and a failure without its figures."""
    report = samples.verification("fail")
    found = suite(report)
    assert outcomes(report) == {
        "verdict": "failure",
        "parity": "system-out",
        "gate: clean accuracy": "system-out",
        "gate: robust accuracy": "failure",
        "gate: retention": "system-out",
        "limit: parameters": "system-out",
        "limit: multiply-accumulates": "system-out",
        "limit: engine file": "system-out",
        "limit: latency (median)": "skipped",
    }
    message = found.find("testcase[@name='gate: robust accuracy']/failure").get("message")
    assert message == "fail: measured 42.5% [38.3%, 46.9%], required at least 77.1%"


def test_a_run_without_a_report_is_red():
    """Catches an error in a form that CI systems pass over, or that is no XML."""
    (found,) = fromstring(junit_error("a & <b>\n  - \x1b[31m\ud800\uffff", kind="exit code 5: damaged").encode())
    assert [found.get(count) for count in ("tests", "failures", "errors", "skipped")] == ["1", "0", "1", "0"]
    (case,) = found.findall("testcase")
    assert (case.get("name"), [each.tag for each in case]) == ("verdict", ["error"])
    assert case[0].get("type") == "exit code 5: damaged"
    assert case[0].get("message") == r"a & <b>; \x1b[31m\ud800" + "\ufffd"


@pytest.mark.parametrize(
    "name", ["<a b='\"&]]>", "a\x00\x1b[31m\ud800\ufffe\uffff", "\u202e", "é\U0001f600", "x" * 5000]
)
def test_any_name_is_well_formed(name):
    """Catches a file that a CI system refuses because of a bundle's name."""
    report = replace(samples.verification(), bundle=name, requirement=samples.REQUIREMENT)
    text = junit_xml(report)
    text.encode()
    shown = str(fromstring(text.encode())[0].get("name"))
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ufffe\uffff]", shown)
