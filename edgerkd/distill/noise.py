"""Random numbers of a training step, drawn for the whole batch, of which each process takes its part."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from edgerkd.distill.parallel import ONE, Parallel

Draw = Callable[[], Tensor]


class Noise:
    """Noise by `generator`, which is what a checkpoint keeps: on a CPU its own, on a GPU drawn there from its seeds.

    So nothing waits for a copy to the GPU, and a run is that of its seed on every machine of one kind.
    """

    def __init__(self, generator: np.random.Generator, device: torch.device, ranks: Parallel = ONE) -> None:
        self._generator, self._device, self._ranks = generator, device, ranks

    def uniform(self, shape: Sequence[int], radius: float) -> Tensor:
        """Between -radius and radius, of this shape, float32."""
        whole = self._whole(shape)

        def draw() -> Tensor:
            if self._on_host:
                return torch.from_numpy(self._generator.random(whole, np.float32))
            return torch.rand(whole, generator=self._seeded(), device=self._device)

        return self._ranks.part(self._drawn(draw)).mul_(2).sub_(1).mul_(radius)

    def normal(self, shape: Sequence[int], deviation: float) -> Tensor:
        """Gaussian with mean 0 and this standard deviation, of this shape, float32."""
        whole = self._whole(shape)

        def draw() -> Tensor:
            if self._on_host:
                return torch.from_numpy(self._generator.standard_normal(whole, np.float32))
            return torch.randn(whole, generator=self._seeded(), device=self._device)

        return self._ranks.part(self._drawn(draw)).mul_(deviation)

    def beta(self, alpha: float) -> Tensor:
        """One number of the symmetric beta distribution, the same for all processes; 1 for an `alpha` of 0."""
        if alpha == 0:
            return torch.ones((), dtype=torch.float64, device=self._device)
        return self._drawn(lambda: torch.tensor(self._generator.beta(alpha, alpha), dtype=torch.float64))

    def permutation(self, n: int, generator: torch.Generator) -> Tensor:
        """The numbers 0 to n - 1 in random order.

        One number is drawn from `generator` however many there are: its later draws, which order the data, do not
        depend on the processes that share a batch.
        """

        def draw() -> Tensor:
            seed = int(torch.randint(2**31, (), generator=generator))
            return torch.randperm(n, generator=torch.Generator().manual_seed(seed))

        return self._drawn(draw)

    def _drawn(self, draw: Draw) -> Tensor:
        return draw().to(self._device, non_blocking=True)

    @property
    def _on_host(self) -> bool:
        return self._device.type == "cpu"

    def _seeded(self) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(int(self._generator.integers(2**62)))

    def _whole(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0] * self._ranks.world, *shape[1:])


class KeptNoise(Noise):
    """Noise that a step, when it is repeated, finds in the memory where it was at first; `renew` draws it anew."""

    def __init__(self, generator: np.random.Generator, device: torch.device, ranks: Parallel = ONE) -> None:
        super().__init__(generator, device, ranks)
        self._kept: list[tuple[Tensor, Draw]] = []
        self._next = 0

    def renew(self) -> None:
        """Other numbers in all places, and what is asked for next is the first of them."""
        for place, draw in self._kept:
            place.copy_(draw(), non_blocking=True)
        self.rewind()

    def rewind(self) -> None:
        """What is asked for next is the first of the numbers there are."""
        self._next = 0

    def _drawn(self, draw: Draw) -> Tensor:
        if self._next == len(self._kept):
            self._kept.append((super()._drawn(draw), draw))
        self._next += 1
        return self._kept[self._next - 1][0]
