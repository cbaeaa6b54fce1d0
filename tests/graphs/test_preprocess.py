"""What a network expects of its input, found by measuring."""

import pytest

from edgerkd.core.adoption import Normalization
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.graphs.preprocess import candidates, choose, given, named, reading_name


def answers(right: dict[str, int], n: int = 200):
    """The first so many images right, by way; the others wrong."""

    def correct(normalization, order):
        name = normalization.name + ("" if order == "rgb" else " bgr")
        return [index < right.get(name, 20) for index in range(n)]

    return correct


def test_the_most_accurate_way_is_taken_where_it_is_clear():
    """Catches the first way taken, an order of channels ignored, and accuracies not kept for all."""
    choice = choose(answers({"caffe bgr": 180, "imagenet": 120}), candidates(3))
    assert reading_name(choice.best) == "caffe bgr"
    assert choice.clear
    assert choice.p_value < 1e-6
    assert len(choice.readings) == len(candidates(3))
    assert [round(reading.accuracy.value, 2) for reading in choice.readings[:3]] == [0.9, 0.6, 0.1]


def test_of_ways_that_chance_could_order_the_first_is_taken_and_all_are_named():
    """Catches a best way of two images more, called clear, and a tie that is not told."""
    choice = choose(answers({"cifar10-within": 152, "cifar10": 150, "imagenet": 149, "half": 100}), candidates(3))
    assert reading_name(choice.best) == "imagenet"
    assert choice.tied == ("cifar10", "cifar10-within")
    assert not choice.clear
    assert choice.p_value > 0.05


def test_disagreement_counts_and_not_accuracy_alone():
    """Catches an unpaired test: eight images more, all of them on the same side, are no chance."""
    choice = choose(answers({"imagenet": 158, "half": 150}), candidates(3))
    assert choice.clear


def test_ways_fit_the_channels():
    """Catches three means for one channel, BGR of grey images, and MNIST's values for colour."""
    assert [n.name for n, _ in candidates(1)] == ["none", "0-255", "half", "mnist"]
    assert {order for _, order in candidates(1)} == {"rgb"}
    assert all(len(n.mean) == 3 and n.name != "mnist" for n, _ in candidates(3))
    assert {order for _, order in candidates(3, order="bgr")} == {"bgr"}


def test_names_and_values_of_a_users_own():
    """Catches values for pixels of 0 to 255 taken for those of 0 to 1, and a name that is guessed."""
    assert named("imagenet").std == (0.229, 0.224, 0.225)
    assert given([0.5], [0.25]) == Normalization(name="given", mean=(0.5,), std=(0.25,))
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet'"):
        named("imagent")
    with pytest.raises(ConfigError, match="divide those for 0 to 255 by 255"):
        given([123.7, 116.8, 103.9], [58.4, 57.1, 57.4])
    with pytest.raises(ConfigError, match="above 0"):
        given([0.5], [0.0])
    with pytest.raises(ConfigError, match="1 values and --std 3"):
        given([0.5], [0.5, 0.5, 0.5])


def test_without_images_nothing_is_found():
    """Catches a normalization chosen by no image."""
    with pytest.raises(ConfigError, match="labelled images: give --normalize"):
        choose(lambda *_: [], candidates(3))
