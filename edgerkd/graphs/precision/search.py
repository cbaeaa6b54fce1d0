"""Which layers of an int8 graph stay in float32: those that move the margins of adversarial images too far.

Forward passes alone. Ours: an image that the float32 model resists is lost where rounding moves its margin down by more
than there is of it. With shifts like those of a normal distribution of mean 0 that is Phi(-margin / shift) of the
images, summed; counting every margin below the shift, as if all went down, would be two and a half times as many. An
attack on the graph has the last word. Clean agreement foretells nothing (docs/measured/precision.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.precision import LayerShift, Placement, SearchStep
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import Range

Answers = Callable[[bytes, NDArray[np.float32]], NDArray[np.float32]]
"""The logits (n, k) of a graph for images (n, c, h, w)."""

IMAGES = 128
"""Robust images by which layers are ranked, those with the smallest margins: the others lose nothing. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The layers of a graph by how far each alone, in int8, moves the margins (n,) of robust images.

    `images_adv` (m, c, h, w) are the nearest of them, with labels and margins `near` (m,).
    """

    graph: bytes
    ranges: Mapping[str, Range]
    placement: Placement
    answers: Answers
    margins: NDArray[np.float32]
    images_adv: NDArray[np.float32]
    labels: NDArray[np.int64]
    near: NDArray[np.float32]
    shifts: tuple[LayerShift, ...] = ()

    @property
    def n(self) -> int:
        """How many robust images there are."""
        return len(self.margins)

    def step(self, kept: tuple[str, ...]) -> SearchStep:
        """What the graph with these layers in float32 would lose."""
        rounded = quantized(self.graph, self.ranges, placement=self.placement, keep=kept)
        moved = margins_of(self.answers(rounded, self.images_adv), self.labels) - self.near
        shift = float(np.sqrt(np.square(moved, dtype=np.float64).mean()))
        return SearchStep(kept=len(kept), shift=shift, forecast=forecast_of(self.margins, shift))

    def choose(self, at_least: int, *, allowed: float) -> tuple[tuple[str, ...], list[SearchStep]]:
        """The layers to keep in float32, and what was tried.

        The last one, which gives the logits, and as many more as are asked for or as it takes until the forecast is at
        most `allowed`, but no more than half of them: such a graph is no faster than float32.
        """
        names = [each.layer for each in self.shifts]
        order = [names[-1], *(each.layer for each in sorted(self.shifts[:-1], key=lambda each: -each.shift))]
        most = max(1, len(order) // 2)
        count, steps = min(at_least, most), list[SearchStep]()
        while True:
            steps.append(self.step(tuple(order[:count])))
            if steps[-1].forecast <= allowed or count >= most:
                return tuple(name for name in names if name in order[:count]), steps
            count += 1


def rank_layers(
    graph: bytes,
    ranges: Mapping[str, Range],
    *,
    placement: Placement,
    images_adv: NDArray[np.float32],
    labels: NDArray[np.int64],
    answers: Answers,
) -> Ranking:
    """Each layer tried alone, on the images (n, c, h, w), of these labels (n,), that the float32 graph resists."""
    margins = margins_of(answers(graph, images_adv), labels)
    nearest = np.argsort(margins)[:IMAGES]
    ranking = Ranking(
        graph=graph,
        ranges=ranges,
        placement=placement,
        answers=answers,
        margins=margins,
        images_adv=images_adv[nearest],
        labels=labels[nearest],
        near=margins[nearest],
    )
    every = layers(graph)
    shifts = [
        LayerShift(layer=layer, shift=ranking.step(tuple(other for other in every if other != layer)).shift)
        for layer in every
    ]
    return replace(ranking, shifts=tuple(shifts))


def forecast_of(margins: NDArray[np.float32], shift: float) -> float:
    """The share of images with these margins (n,) that shifts of mean 0 and this size bring below zero."""
    if shift == 0:
        return float((margins < 0).mean())
    return float(np.mean([erfc(margin / (shift * sqrt(2))) / 2 for margin in margins.tolist()]))


def margins_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The label's logit, of logits (n, k), less the largest other: (n,)."""
    own = np.eye(logits.shape[1], dtype=np.bool_)[labels]
    return np.where(own, logits, 0).sum(1) - np.where(own, -np.inf, logits).max(1)
