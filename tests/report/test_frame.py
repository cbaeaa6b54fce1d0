"""The frame that all charts of accuracy share."""

import re
from xml.etree import ElementTree

import pytest

from edgerkd.report.frame import BOTTOM, LEFT, RIGHT, TOP, Frame, Tick

FRAME = Frame(title="A <title>", axis="radius", low=-1, high=3, ticks=[Tick(value=1, label="1/255")])


def test_values_and_shares_stand_where_the_axes_say():
    """Catches a chart upside down, from 0 instead of the lowest value, and one that divides by an axis of no length."""
    assert [FRAME.x(-1), FRAME.x(1), FRAME.x(3)] == [LEFT, (LEFT + RIGHT) / 2, RIGHT]
    assert [FRAME.y(0), FRAME.y(1)] == [BOTTOM, TOP]
    assert Frame(title="", axis="", low=1, high=1, ticks=[]).x(1) == LEFT


def test_a_chart_names_itself_its_axes_and_its_ticks():
    """Catches a chart without words for those who cannot see it, without labels, and text that is taken for markup."""
    svg = ElementTree.fromstring(FRAME.drawn([FRAME.curve("student", [(-1, 0.5)])], "student: 50 %"))
    assert (svg.get("role"), svg.get("aria-label"), svg.findtext("title")) == ("img", "student: 50 %", "A <title>")
    texts = {text.text: text.get("x") for text in svg.iter("text")}
    assert list(texts) == ["0%", "25%", "50%", "75%", "100%", "1/255", "radius"]
    assert float(texts["1/255"] or 0) == FRAME.x(1)
    assert len([line for line in svg.iter("line") if line.get("class") == "grid"]) == 5


def test_a_band_goes_along_one_line_and_back_along_the_other():
    """Catches a band that crosses itself."""
    points = re.findall(r"[\d.]+,[\d.]+", FRAME.band("teacher", [(-1, 1), (3, 1)], [(-1, 0), (3, 0)]))
    assert points == ["44.0,14.0", "330.0,14.0", "330.0,216.0", "44.0,216.0"]


def test_each_dot_has_its_own_words():
    """Catches dots whose words belong to another point, and points without words."""
    dots = FRAME.dots("student", [(-1, 0), (3, 1)], ["first", "last"])
    assert ["first" in dots[0], "last" in dots[1], 'cy="14.0"' in dots[1]] == [True, True, True]
    with pytest.raises(ValueError, match="zip"):
        FRAME.dots("student", [(-1, 0)], [])
