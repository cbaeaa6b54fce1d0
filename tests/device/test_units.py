"""Radii, sizes, counts, accuracies and errors: the small change of `core`."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgerkd.core.accuracy import accuracy_from_correct, wilson_interval
from edgerkd.core.errors import ConfigError, EdgerkdError, UnknownNameError, problems_text
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import FINEST, LARGEST_RADIUS, Radius, format_count, format_size, parse_size

radii = st.fractions(min_value=0, max_value=1, max_denominator=10**6) | st.fractions(
    min_value=1, max_value=LARGEST_RADIUS, max_denominator=10**6
)


@given(radii)
def test_a_radius_reads_what_it_writes(value):
    """Catches rounding on the way through text."""
    radius = Radius(value)
    assert Radius(str(radius)) == radius == value


@given(st.floats(1e-6, 1))
def test_a_radius_of_any_float_reads_what_it_writes(value):
    """Catches a radius that is accepted, and written in a form that is refused when hours of work are read back."""
    radius = Radius(repr(value))
    assert Radius(str(radius)) == radius
    assert abs(radius - Fraction(value)) < Fraction(1, FINEST)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("8/255", "8/255"),
        ("0.0313725490196078431372549", "8/255"),
        ("16/510", "8/255"),
        ("0", "0/255"),
        ("1", "255/255"),
        ("0.5", "0.5"),
        ("0.1", "0.1"),
        ("0.3", "0.3"),
        ("1/3", "85/255"),
        ("1/7", "1/7"),
        ("3", "3"),
        ("3.50", "3.5"),
        ("256/255", "256/255"),
        ("1234.5678", "1234.5678"),
    ],
)
def test_radii_are_shown_as_people_write_them(text, shown):
    """Catches `8/255` shown as a decimal, `1/2` rounded to 127/255, `3` in L2 shown as 765/255, and digits cut off."""
    assert str(Radius(text)) == shown


@pytest.mark.parametrize("text", ["-1/255", "10001", "1e9", "eight", "", "8/0", "nan", "inf", "1e-17", "1e-30", None])
def test_what_is_no_radius_is_refused(text):
    """Catches errors of other kinds than ConfigError."""
    with pytest.raises(ConfigError, match="radius"):
        Radius(text)


@pytest.mark.parametrize("text", ["8", "1.0001", "256/255"])
def test_a_radius_above_one_is_of_whole_images_alone(text):
    """Catches 8 read as 8/255 in L-inf, and the radii of large images in L2, such as ImageNet's 3, refused."""
    with pytest.raises(ConfigError, match="write 8/255, not 8"):
        ThreatModel(norm="Linf", eps=Radius(text))
    assert ThreatModel(norm="L2", eps=Radius(text)).eps == Radius(text)


def test_a_radius_is_compared_with_numbers_that_are_none():
    """Catches a comparison with a float that ends in a TypeError of Fraction's."""
    assert Radius("0.25") == 0.25
    assert Radius("0.25") != -1.5
    assert Radius("0.25") < 1e6


def test_a_threat_model_reads_as_people_write_it():
    """Catches a norm or radius lost in the text of every report."""
    assert str(ThreatModel(norm="Linf", eps=Radius("8/255"))) == "Linf 8/255"


@pytest.mark.parametrize(
    ("text", "size"),
    [("4 MiB", 4 * 2**20), ("4 MB", 4 * 10**6), ("1.5 KiB", 1536), ("512 kB", 512_000), ("7B", 7), ("0.1 B", 0)],
)
def test_sizes(text, size):
    """Catches binary and decimal units mixed up, and fractions cut off."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["4", "MiB", "4 mib", "4 Mb", "-4 MiB", "4 MiB more", "1e3 B", ""])
def test_what_is_no_size_is_refused_with_the_units(text):
    """Catches a bare number taken for bytes, and megabits for megabytes."""
    with pytest.raises(ConfigError, match="KiB, MB, MiB"):
        parse_size(text)


@given(st.integers(0, 2**40))
def test_a_size_reads_what_it_writes_to_three_figures(size):
    """Catches a wrong unit or factor in either direction."""
    text = format_size(size)
    assume("e+" not in text)  # the test below
    assert parse_size(text) == pytest.approx(size, rel=0.005)


@pytest.mark.parametrize("text", [format_size(1023 * 2**10), format_size(1000 * 2**20), format_count(999_999)])
def test_a_number_just_below_the_next_unit_is_written_plainly(text):
    """Catches the exponent, which neither people nor `parse_size` read."""
    assert "e" not in text


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999"), (1000, "1 k"), (12_300, "12.3 k"), (4_560_000, "4.56 M"), (2 * 10**9, "2 G")]
)
def test_counts_for_people(count, text):
    """Catches a wrong factor at each unit's edge."""
    assert format_count(count) == text


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_holds_the_point_and_stays_within_0_and_1(hits_of_n):
    """Catches a shifted centre, and bounds that rounding pushes past the point."""
    hits, n = hits_of_n
    low, high = wilson_interval(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert low < high


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(2, 20))
def test_the_wilson_interval_shrinks_with_n(hits_of_n, factor):
    """Catches an interval that forgets n."""
    hits, n = hits_of_n
    low, high = wilson_interval(hits, n)
    low_more, high_more = wilson_interval(hits * factor, n * factor)
    assert high_more - low_more < high - low


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_right_and_wrong_are_mirror_images(hits_of_n):
    """Catches an interval that treats hits and misses differently."""
    hits, n = hits_of_n
    low, high = wilson_interval(hits, n)
    assert wilson_interval(n - hits, n) == pytest.approx((1 - high, 1 - low))


def test_wilson_interval_of_published_cases():
    """Catches a wrong quantile. Source: Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_nothing_measured_is_nothing_known():
    """Catches a division by zero, and a confident interval from no image."""
    assert wilson_interval(0, 0) == (0, 1)
    assert accuracy_from_correct([]).n == 0


@given(st.lists(st.booleans(), min_size=1))
def test_accuracy_counts_right_answers(correct):
    """Catches wrong answers counted, and a denominator that is not n."""
    accuracy = accuracy_from_correct(correct)
    assert Fraction(accuracy.value).limit_denominator(len(correct)) == Fraction(sum(correct), len(correct))
    assert (accuracy.low, accuracy.high) == wilson_interval(sum(correct), len(correct))


def test_accuracies_are_shown_in_percent():
    """Catches fractions shown to people as `0.75`."""
    assert str(accuracy_from_correct([1, 1, 0, 1])) == "75.0% [30.1%, 95.4%]"


def test_unknown_names_suggest_only_what_is_near():
    """Catches a suggestion that has nothing to do with what was typed."""
    near, far = (str(UnknownNameError("profile", name, ["orin", "thor"])) for name in ("orn", "zzzz"))
    assert "did you mean 'orin'?" in near
    assert "did you mean" not in far
    assert "known: orin, thor" in far


def test_exit_codes_are_those_of_the_documentation():
    """Catches a code changed by accident: programs rely on them."""

    def below(cls: type) -> set[type]:
        return {cls}.union(*(below(child) for child in cls.__subclasses__()))

    ours = {cls.__name__: cls.exit_code for cls in below(EdgerkdError) if cls.__module__ == "edgerkd.core.errors"}
    assert ours == {
        "EdgerkdError": 70,
        "MissingGatesError": 2,
        "ConfigError": 3,
        "UnknownNameError": 3,
        "BudgetError": 3,
        "MissingDependencyError": 4,
        "StreamError": 4,
        "StorageError": 4,
        "ArtefactError": 5,
        "ExportError": 6,
        "EngineError": 6,
        "ParityError": 6,
        "DivergedError": 6,
        "LostRankError": 70,
    }


def test_problems_are_listed_below_their_file():
    """Catches a problem that is dropped, and a list for a single one."""
    assert problems_text("a.toml", ["x: bad"]) == "a.toml: x: bad"
    assert problems_text("a.toml", ["x: bad", "y: worse"]) == "a.toml: 2 problems\n  - x: bad\n  - y: worse"
