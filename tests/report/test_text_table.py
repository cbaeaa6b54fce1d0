"""The text tables of all commands."""

import pytest

from edgerkd.report.text_table import Table, table_text, text_width

TABLE = Table(
    ("network", "robust acc. [95%]", "why"),
    (
        ("teacher at 8/255", "96.0% [94.4%, 97.1%]", "attacked by PGD-20 on all of the images of the test split"),
        ("student", "89.5%", "/a/path/of/many/folders/that/has/no/space"),
    ),
)


def words(text: str) -> list[str]:
    return sorted(word for word in text.split() if set(word) != {"-"})


def test_a_table_with_room_has_a_line_a_row():
    """Catches columns that are not below each other, and spaces at the ends of lines."""
    assert table_text(Table(("a", "bc"), (("longer", "x"), ("y", ""))), 80) == "a       bc\n------  --\nlonger  x\ny"


BELOW = """\
network           robust acc. [95%]    why
----------------  -------------------  -----------------------------------------
teacher at 8/255  96.0%                attacked by PGD-20 on all of the images
                  [94.4%, 97.1%]       of the test split
student           89.5%                /a/path/of/many/folders/that/has/no/space"""


def test_long_cells_continue_below_themselves():
    """Catches a first column wrapped before the others, an interval that is divided, and a path that is."""
    assert table_text(TABLE, 80) == BELOW


@pytest.mark.parametrize("width", [1, 40, 60, 70, 80, 100, 200])
def test_nothing_is_cut_at_any_width(width):
    """Catches a word that is lost or divided, and a line that is longer than it has to be."""
    found = table_text(TABLE, width)
    whole = table_text(TABLE, 10_000)
    assert words(found) == words(whole)
    least = len("teacher") + len("[94.4%, 97.1%]") + len("/a/path/of/many/folders/that/has/no/space") + 4
    assert max(map(len, found.splitlines())) <= max(width, least)
    assert all(line == line.rstrip() for line in found.splitlines())


def test_the_first_column_is_wrapped_last():
    """Catches rows whose names are in pieces while other columns have room to give."""
    table = Table(("name of it", "what"), (("one two three", "four five six seven"),))
    assert table_text(table, 24).splitlines()[2:] == ["one two three  four five", "               six seven"]
    assert table_text(table, 12).splitlines()[3:] == ["one    four", "two    five", "three  six", "       seven"]


def test_wide_and_combining_characters_keep_columns_straight():
    """Catches class names in Chinese, or with combining accents, that push a row out of its columns."""
    table = table_text(Table(("class", "n"), (("停车", "1"), ("e\u0301te\u0301", "2"))), 80)
    positions = {text_width(line[: line.rindex(end)]) for line, end in zip(table.splitlines(), "n-12", strict=True)}
    assert positions == {7}
