"""How a network reads images, found by measuring."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.graphs.preprocess import NONE, NORMALIZATIONS, PIXELS, candidates, choose, named
from edgerkd.graphs.preprocess import given as written

WAYS = candidates(3)


def answers(**right: int):
    """So many of 200 images right for the ways named `NORMALIZATION_ORDER`, none for others; nested, as in nature."""
    return lambda normalization, order: np.arange(200) < right.get(f"{normalization.name}_{order}", 0)


def test_the_most_accurate_way_wins_and_is_clear_where_no_other_is_near():
    """Catches the first in the list taken, and a choice that says nothing of its doubt."""
    found = choose(answers(imagenet_rgb=150, none_rgb=90), WAYS)
    assert (found.best.normalization.name, found.best.order, found.best.accuracy.value) == ("imagenet", "rgb", 0.75)
    assert found.clear
    assert found.readings[1].normalization.name == "none"
    assert len(found.readings) == len(WAYS)


def test_a_way_that_is_nearly_as_good_is_named():
    """Catches a choice between two by one image that looks certain."""
    found = choose(answers(cifar10_rgb=150, imagenet_rgb=149, caffe_bgr=20), WAYS)
    assert found.readings[0].normalization.name == "cifar10"
    assert not found.clear
    assert [each.normalization.name for each in found.tied] == ["imagenet", "cifar10"]
    assert found.best.normalization.name == "imagenet", "of ties the commonest is likelier"


def test_of_equal_ways_the_plainest_is_taken():
    """Catches an exotic normalization for a network to which all are the same."""
    found = choose(lambda normalization, order: [True] * 10, WAYS)
    assert (found.best.normalization, found.best.order) == (NONE.of_channels(3), "rgb")
    assert len(found.tied) == len(WAYS)


def test_without_images_nothing_is_found():
    """Catches a division by zero, and a choice at random."""
    with pytest.raises(ConfigError, match="--normalize"):
        choose(lambda normalization, order: [], WAYS)


@settings(max_examples=50)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=len(WAYS), max_size=len(WAYS)))
def test_the_best_is_the_first_that_could_be_the_most_accurate(rows):
    """Catches a best way that is not among the tied, and an order that is lost."""
    table = dict(zip(WAYS, rows, strict=True))
    found = choose(lambda normalization, order: table[normalization, order], WAYS)
    assert found.readings[0].accuracy.value == max(sum(row) for row in rows) / 5
    assert found.readings[0] in found.tied
    assert found.best == found.tied[0]


def test_candidates_fit_the_channels():
    """Catches three values for a grey image, and an order of the colours that it has not."""
    assert {order for _, order in candidates(1)} == {"rgb"}
    assert all(len(normalization.mean) == 1 for normalization, _ in candidates(1))
    assert {order for _, order in candidates(3, order="bgr")} == {"bgr"}
    assert "mnist" not in {normalization.name for normalization, _ in WAYS}


def test_a_normalization_is_known_by_name_or_written_out():
    """Catches values of 0 to 255 taken as those of 0 to 1, and lengths that do not go together."""
    assert {named(each.name) for each in NORMALIZATIONS} == set(NORMALIZATIONS)
    assert PIXELS.std == (1 / 255,)
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet'"):
        named("imagenett")
    for mean, std in (((123.0,), (58.0,)), ((0.5, 0.5), (0.5,)), ((0.5,), (0.0,)), ((0.5,), (float("nan"),))):
        with pytest.raises(ConfigError, match=r"--(mean|std)"):
            written(mean, std)
