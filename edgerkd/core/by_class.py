"""Accuracy class by class: an average hides a class that is never recognised."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgerkd.core.accuracy import Accuracy, accuracy_from_correct
from edgerkd.core.ranges import Name
from edgerkd.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAccuracy(Record):
    """The images of one class."""

    name: Name
    clean_acc: Accuracy
    robust_acc: Accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class ByClass(Record):
    """Every class with images, those without, and the class of the lowest robust accuracy."""

    classes: tuple[ClassAccuracy, ...]
    missing: tuple[Name, ...]
    worst: Name | None


def by_class(
    names: Sequence[str],
    labels: Iterable[int],
    clean: Iterable[Any],
    robust: Iterable[Any],
    accuracy: Callable[[Iterable[Any]], Accuracy] = accuracy_from_correct,
) -> ByClass:
    """From each image's label, whether it is answered right (true), and whether it still is under attack.

    `accuracy` gives the intervals.

    Of classes equally robust, the less accurate is the worst.
    """
    answers: list[list[tuple[bool, bool]]] = [[] for _ in names]
    for label, right, resisted in zip(labels, clean, robust, strict=True):
        answers[int(label)].append((bool(right), bool(resisted)))
    classes = tuple(
        ClassAccuracy(
            name=name,
            clean_acc=accuracy(right for right, _ in own),
            robust_acc=accuracy(resisted for _, resisted in own),
        )
        for name, own in zip(names, answers, strict=True)
        if own
    )
    worst = min(classes, key=lambda c: (c.robust_acc.value, c.clean_acc.value), default=None)
    missing = tuple(name for name, own in zip(names, answers, strict=True) if not own)
    return ByClass(classes=classes, missing=missing, worst=worst.name if worst else None)


def clean_only(found: ByClass) -> ByClass:
    """The same where nothing is attacked: robust is what is clean."""
    classes = tuple(replace(each, robust_acc=each.clean_acc) for each in found.classes)
    worst = min(classes, key=lambda c: c.clean_acc.value, default=None)
    return replace(found, classes=classes, worst=worst.name if worst else None)


FLOOR = 0.1
"""Of what lies between chance and 1: below it no accuracy is worth the name. Ours."""


def chance_of(found: ByClass) -> float:
    """The accuracy of always answering the commonest class of the sample."""
    return chance_among(each.clean_acc.n for each in found.classes)


def chance_among(images: Iterable[int]) -> float:
    """The same, of so many images of each class."""
    counts = list(images)
    return max(counts) / sum(counts) if counts else 0.0


def floor_above(chance: float) -> float:
    """The least accuracy that is asked for, whatever a teacher reaches."""
    return chance + FLOOR * (1 - chance)
