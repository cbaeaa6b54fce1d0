"""Which images a split has, and which of them stand for it: drawn by seed, class by class, objects kept whole."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edgerkd.data.samples import Ints, Samples
from edgerkd.files.paths import shown

SPLIT_SEED = 0
VALIDATION_SHARE, MOST_VALIDATION = 0.1, 1000  # of the training images, and how many at most; ours
TEST_SHARE = 0.2  # of all images, where the data bring no test split; ours


def draw(labels: NDArray[np.integer], n: int, *, seed: int) -> Ints:
    """`n` rows, each class with its share of them and one at least where `n` allows, in random order.

    The order is random so that any part of the sample is one as well. All rows where there are no more than `n`.
    """
    generator = np.random.default_rng((seed, len(labels)))
    if n >= len(labels):
        return generator.permutation(len(labels))
    _, place = np.unique(labels, return_inverse=True)
    many = shares(np.bincount(place), n, generator)
    rows = [generator.permutation(np.flatnonzero(place == number))[:k] for number, k in enumerate(many)]
    return generator.permutation(np.concatenate(rows))


def shares(counts: NDArray[np.integer], n: int, generator: np.random.Generator) -> Ints:
    """How many of each class make a sample of `n`: by its size, what rounding leaves to the largest remainders.

    Every class has one, where `n` is enough for that; else a random choice of classes has one each.
    """
    if n < len(counts):
        chosen = np.zeros(len(counts), np.int64)
        chosen[generator.permutation(len(counts))[:n]] = 1
        return chosen
    exact = counts * (n / counts.sum())
    many = np.maximum(np.floor(exact).astype(np.int64), 1)
    order = np.lexsort((generator.random(len(counts)), -(exact - many)))
    for number in order[: max(0, n - int(many.sum()))]:
        many[number] += 1
    while many.sum() > n:  # small classes were given their one: whoever has most beyond its share gives one back
        many[np.argmax(np.where(many > 1, many - exact, -np.inf))] -= 1
    return many


def hold_out(samples: Samples, share: float, *, most: int | None, seed: int) -> tuple[Ints, Ints]:
    """Rows to keep and rows to hold out: of each class about `share`, `most` in all, and of no object a part.

    Images of one group, and images that are the same to the last byte, stay on one side. Each class keeps an image at
    least to learn from. Where that leaves nothing to hold out, nothing is.
    """
    labels = samples.labels
    n = max(1, round(len(labels) * share))
    n = n if most is None else min(n, most)
    generator = np.random.default_rng((seed, len(labels)))
    objects = _objects(samples)
    classes, place = np.unique(labels, return_inverse=True)
    wanted = shares(np.bincount(place), max(n, min(len(classes), len(labels) - 1)), generator)
    order = np.argsort(objects, kind="stable")
    first = np.searchsorted(objects, np.arange(objects.max() + 2), sorter=order)
    left = np.bincount(place)
    held = np.zeros(len(labels), bool)
    for number in range(len(classes)):
        members, lacking = np.unique(objects[place == number]), wanted[number] - held[place == number].sum()
        for member in generator.permutation(members):
            if lacking <= 0:
                break
            rows = order[first[member] : first[member + 1]]
            taken = np.bincount(place[rows], minlength=len(classes))
            if held[rows[0]] or (taken[taken > 0] >= left[taken > 0]).any():  # of whom none would be left to learn from
                continue
            held[rows] = True
            left, lacking = left - taken, lacking - taken[number]
    return np.flatnonzero(~held), np.flatnonzero(held)


def shared_images(splits: dict[str, Samples]) -> list[str]:
    """A line for each pair of splits that have images in common, to the last byte."""
    numbers = {name: _numbers(samples) for name, samples in splits.items()}
    lines: list[str] = []
    for first, second in combinations(splits, 2):
        both = np.intersect1d(numbers[first], numbers[second])
        if len(both):
            a, b = (_call(splits[name], name, int(np.argmax(numbers[name] == both[0]))) for name in (first, second))
            lines.append(
                f"{len(both)} images stand in the {first} and in the {second} split, such as {a} and {b}: what is "
                "measured on them is not about new images."
            )
    return lines


def _numbers(samples: Samples) -> Ints:
    """A number for each image, the same for the same bytes: the first eight of its digest."""
    return np.ascontiguousarray(samples.digests[:, :8]).view(np.int64)[:, 0]


def _objects(samples: Samples) -> Ints:
    """A number for each image: that of its group, and the same for images of the same bytes."""
    _, same = np.unique(_numbers(samples), return_inverse=True)
    if samples.groups is None:
        return same.astype(np.int64)
    _, group = np.unique(samples.groups, return_inverse=True)
    # Groups that hold the same image are one: each takes the lowest number that it meets, until none changes.
    number = group.astype(np.int64)
    while True:
        lowest = np.full(same.max() + 1, len(number), np.int64)
        np.minimum.at(lowest, same, number)
        joined = np.full(group.max() + 1, len(number), np.int64)
        np.minimum.at(joined, group, lowest[same])
        if (joined[group] == number).all():
            return number
        number = joined[group]


def _call(samples: Samples, split: str, row: int) -> str:
    return f"image {row} of {split}" if samples.files is None else shown(samples.files[row])
