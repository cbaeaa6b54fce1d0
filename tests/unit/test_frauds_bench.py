"""The guide's table of frauds is the one that was measured, and nothing in it passes that a look could tell."""

import json
from pathlib import Path

from tests.benches import bench

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "docs/measured/frauds.json").read_text())


def test_the_guide_shows_what_was_measured():
    """Catches a table written by hand, one that is older than its figures, and a kind that was never tried."""
    frauds = bench("frauds")
    assert frauds.table(RESULTS) in (ROOT / "docs/guide/frauds.md").read_text()
    assert {each.name for each in frauds.FRAUDS} == {result["name"] for result in RESULTS}


def test_what_passes_is_honest_or_has_a_cure_elsewhere():
    """Catches a kind of fraud that passes with nothing said of what would tell."""
    frauds = bench("frauds")
    cures = {each.name: each.cure for each in frauds.FRAUDS}
    passed = {result["name"] for result in RESULTS if result["exit"] == 0}
    assert "honest: robust student" in passed
    assert {name for name in passed if not cures[name]} == set()
    assert not [result for result in RESULTS if result["exit"] == 70]
