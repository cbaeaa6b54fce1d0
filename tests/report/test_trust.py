"""What a verdict rests on, in words."""

from dataclasses import replace

import pytest

from edgerkd.core.trust import Trust
from edgerkd.report.page import render_page
from edgerkd.report.table import verdict_lines
from edgerkd.report.words import trust_words
from tests.report import samples

KEY = "fa" * 32


@pytest.mark.parametrize(
    ("trust", "words"),
    [
        (Trust(), "rests on the bundle's own word alone: the bundle is not signed"),
        (Trust(grounds=("sha256", "samples")), "rests on the digest that you expected and samples of your own: the"),
        (Trust(signature="unchecked"), "which was not checked, for cryptography is missing (pip install"),
        (Trust(signature="unchecked", key=KEY), f"names the key {KEY}, by which its signature cannot be checked"),
        (Trust(signature="valid", key=KEY), f"own word alone: the bundle is signed by the key {KEY}"),
    ],
)
def test_what_it_rests_on_is_said(trust, words):
    """Catches a signature that sounds checked and was not, and a stranger's that sounds trusted."""
    assert words in trust_words(trust)


def test_a_pass_that_is_only_claimed_never_looks_like_one():
    """Catches the colour and the sign of a pass, for the class of the one begins with that of the other."""
    report = replace(samples.verification(), verdict="pass as claimed", trust=Trust())
    lines = verdict_lines(report)
    assert lines[0] == "PASS AS CLAIMED on onnx 1.77.2 (this CPU); toy-board itself is not verified"
    assert any("because: the bundle is not signed" in line and "--trust KEY" in line for line in lines)
    page = render_page(replace(samples.facts(), verification=report))
    assert 'class="verdict pass-as-claimed"' in page
    assert 'class="verdict pass"' not in page
    assert "PASS AS CLAIMED" in page
    assert "beside what was measured this rests on the bundle&#x27;s own word alone" in page.replace("&#39;", "&#x27;")
