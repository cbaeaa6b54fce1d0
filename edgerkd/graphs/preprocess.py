"""What a network expects of its input: the customary normalizations, and which of them it is, by measuring."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from edgerkd.core.accuracy import Accuracy, accuracy_from_correct
from edgerkd.core.adoption import Normalization, Order
from edgerkd.core.comparison import paired
from edgerkd.core.errors import ConfigError, UnknownNameError
from edgerkd.core.ranges import Share
from edgerkd.core.record import Record

NONE = Normalization(name="none", mean=(0.0,), std=(1.0,))
PIXELS = Normalization(name="0-255", mean=(0.0,), std=(1 / 255,))

NORMALIZATIONS: tuple[Normalization, ...] = (
    NONE,
    PIXELS,
    Normalization(name="half", mean=(0.5,), std=(0.5,)),
    Normalization(name="imagenet", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    Normalization(name="cifar10", mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    Normalization(name="cifar10-within", mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
    Normalization(name="caffe", mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3),
    Normalization(name="mnist", mean=(0.1307,), std=(0.3081,)),
)
"""In the order in which equal ones are taken. Sources, all of images in [0, 1] and RGB:

none      torchvision's ToTensor alone
0-255     pixels as they are: OpenCV, and tf.keras without a Rescaling layer
half      to [-1, 1]: tf.keras.applications, `preprocess_input` in mode "tf"
imagenet  torchvision, `transforms._presets.ImageClassification`
cifar10   mean and standard deviation over all pixels of the training images; `cifar10-within` the mean standard
          deviation within an image, from kuangliu/pytorch-cifar, which much code copied
caffe     the mean pixel of VGG (Simonyan and Zisserman 2014), taken off pixels of 0 to 255
mnist     mean and standard deviation of the training images; the first is pytorch/examples, mnist/main.py
"""

ALPHA = 0.05
"""The p value below which the best way to read images is called clear. Ours, the customary one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Record):
    """One way to read images, and the share of labelled images that the network gets right so."""

    normalization: Normalization
    order: Order
    accuracy: Accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Record):
    """`readings` are the ways that were tried, the most accurate first; `tied` those of them as good but for chance.

    `best` is the first of the `tied` in the order of `NORMALIZATIONS`, RGB first: the plainest, then the commonest.
    `p_value` is the largest that the most accurate has against another by McNemar's exact test, 1 without another.
    """

    best: Reading
    readings: tuple[Reading, ...]
    tied: tuple[Reading, ...]
    p_value: Share

    @property
    def clear(self) -> bool:
        """Whether no other reading could be as good."""
        return len(self.tied) == 1


def named(name: str) -> Normalization:
    """The normalization of that name. Raises UnknownNameError."""
    found = {normalization.name: normalization for normalization in NORMALIZATIONS}
    if name not in found:
        raise UnknownNameError("normalization", name, found)
    return found[name]


def given(mean: Sequence[float], std: Sequence[float]) -> Normalization:
    """One that a user wrote, of images in [0, 1]. Raises ConfigError for values that cannot be meant so."""
    if any(not value > 0 for value in std):
        raise ConfigError(f"--std {_row(std)}: every value must be above 0")
    if any(value > 1 for value in (*map(abs, mean), *std)):
        raise ConfigError(
            f"--mean {_row(mean)} --std {_row(std)}: values for pixels of 0 to 1 are expected: divide those for 0 to "
            "255 by 255"
        )
    if len(mean) != len(std) or not 1 <= len(mean) <= 4:
        raise ConfigError(f"--mean has {len(mean)} values and --std {len(std)}: expected one each for every channel")
    return Normalization(name="given", mean=tuple(mean), std=tuple(std))


def candidates(channels: int, *, order: Order | None = None) -> tuple[tuple[Normalization, Order], ...]:
    """Every customary way to read images of so many channels, in the order in which equal ones are taken.

    `order` leaves only those with that order of channels.
    """
    fitting = [found for n in NORMALIZATIONS if (found := n.of_channels(channels)) is not None]
    if channels == 3:
        fitting = [n for n in fitting if n.name != "mnist"]
    orders: tuple[Order, ...] = (order,) if order else (("rgb", "bgr") if channels == 3 else ("rgb",))
    return tuple((normalization, one) for one, normalization in product(orders, fitting))


def choose(
    correct: Callable[[Normalization, Order], Sequence[Any]], ways: Sequence[tuple[Normalization, Order]]
) -> Choice:
    """The most accurate way to read images. `correct` gives, of the same labelled images, which are right so.

    A way is tied with the most accurate where McNemar's exact test finds them apart at no less than `ALPHA`; of the
    tied ones the first in `ways` is taken. Raises ConfigError where there is no way, or there are no images.
    """
    answers = [[bool(c) for c in correct(*way)] for way in ways]
    if not answers or not answers[0]:
        raise ConfigError(
            "the normalization cannot be found without labelled images: give --normalize, or --mean --std"
        )
    readings = [
        Reading(normalization=normalization, order=order, accuracy=accuracy_from_correct(row))
        for (normalization, order), row in zip(ways, answers, strict=True)
    ]
    ranked = sorted(range(len(ways)), key=lambda index: (-sum(answers[index]), index))
    top = ranked[0]
    p_values = {index: paired(answers[top], answers[index]).p_value for index in ranked[1:]}
    equal = sorted([top, *(index for index, p in p_values.items() if p > ALPHA)])
    return Choice(
        best=readings[equal[0]],
        readings=tuple(readings[index] for index in ranked),
        tied=tuple(readings[index] for index in equal),
        p_value=max(p_values.values(), default=1.0),
    )


def reading_name(reading: Reading) -> str:
    """Such as `imagenet` or `caffe bgr`."""
    return reading.normalization.name + (" bgr" if reading.order == "bgr" else "")


def _row(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
