"""A step's losses and gradients recorded once on the GPU, and repeated: it waits for the host no more.

The host of a small student takes longer to ask for a step's operations, one by one, than a large GPU to carry them
out (docs/measured/gpu.md). Source: CUDA graphs, docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgerkd.distill.methods.method import Terms
from edgerkd.distill.moment import Moment
from edgerkd.distill.noise import KeptNoise, Noise

WARM_UP = 3
"""Steps alike before one is recorded, in which libraries prepare themselves. Source: torch's notes, as above."""

Backward = Callable[[Tensor, Tensor, Moment, Noise], Terms]
"""(images, rows, moment, noise) -> the loss terms, whose gradients it leaves in the parameters."""
Again = Callable[[], Terms]
Record = Callable[[Callable[[], Terms]], Again]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a step got, in memory of its own: a repeated one gets other numbers in the same places."""

    images: Tensor
    rows: Tensor
    moment: Moment
    noise: KeptNoise


class Replay:
    """Steps one after the other: carried out until a few were alike, then recorded, then repeated.

    `record` carries nothing out itself, and returns what does. Where it cannot be done, `refused` says why, and every
    step is carried out as it is.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._last: Example | None = None
        self._alike = 0
        self._again: Again | None = None
        self.refused: str | None = None

    def __call__(self, backward: Backward, images: Tensor, rows: Tensor, progress: float, noise: KeptNoise) -> Terms:
        """The terms of this step, good until the next. `noise` is drawn from by a step that is not repeated."""
        last = self._last
        if last is None or not last.moment.like(progress):
            self._alike, self._again = 0, None
        if last is None or self._alike < WARM_UP or self.refused:
            return self._carried_out(backward, images, rows, progress, noise)
        last.images.copy_(images)
        last.rows.copy_(rows)
        last.noise.renew()

        def step() -> Terms:
            return backward(last.images, last.rows, Moment(progress), last.noise)

        if self._again is None:
            try:
                self._again = self._record(step)
            except RuntimeError as e:
                self.refused = str(e)
                last.noise.rewind()
                return step()
        return self._again()

    @property
    def recorded(self) -> bool:
        """Whether steps are being repeated."""
        return self._again is not None

    def _carried_out(
        self, backward: Backward, images: Tensor, rows: Tensor, progress: float, noise: KeptNoise
    ) -> Terms:
        example = Example(images=images.clone(), rows=rows.clone(), moment=Moment(progress), noise=noise)
        terms = aside(lambda: backward(example.images, example.rows, example.moment, example.noise))
        self._last, self._alike = example, self._alike + 1
        return terms


def aside(work: Callable[[], Terms]) -> Terms:
    """Work on a stream beside the current one, as what is recorded later must have been; on a CPU simply done."""
    if not torch.cuda.is_available():
        return work()
    current, beside = torch.cuda.current_stream(), torch.cuda.Stream()
    beside.wait_stream(current)
    with torch.cuda.stream(beside):
        terms = work()
    current.wait_stream(beside)
    return terms


def on_gpu(work: Callable[[], Terms]) -> Again:
    """Record what this asks of the GPU. Raises RuntimeError where it waits for the GPU, or copies from the host."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        terms = work()

    def again() -> Terms:
        graph.replay()
        return terms

    return again
