"""Random numbers of a training step, drawn for the whole batch, of which each process takes its part."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from edgerkd.distill.parallel import ONE, Parallel


class Noise:
    """Noise by `generator`, which is what a checkpoint keeps: on a CPU its own, on a GPU drawn there from its seeds.

    So nothing waits for a copy to the GPU, and a run is that of its seed on every machine of one kind.
    """

    def __init__(self, generator: np.random.Generator, device: torch.device, ranks: Parallel = ONE) -> None:
        self._generator, self._device, self._ranks = generator, device, ranks

    def uniform(self, shape: Sequence[int], radius: float) -> Tensor:
        """Between -radius and radius, of this shape, float32."""
        if self._on_host:
            values = torch.from_numpy(self._generator.random(self._whole(shape), np.float32))
        else:
            values = torch.rand(self._whole(shape), generator=self._seeded(), device=self._device)
        return self._ranks.part(values).mul_(2).sub_(1).mul_(radius)

    def normal(self, shape: Sequence[int], deviation: float) -> Tensor:
        """Gaussian with mean 0 and this standard deviation, of this shape, float32."""
        if self._on_host:
            values = torch.from_numpy(self._generator.standard_normal(self._whole(shape), np.float32))
        else:
            values = torch.randn(self._whole(shape), generator=self._seeded(), device=self._device)
        return self._ranks.part(values).mul_(deviation)

    def beta(self, alpha: float) -> float:
        """One number of the symmetric beta distribution, the same for all processes."""
        return float(self._generator.beta(alpha, alpha))

    @property
    def _on_host(self) -> bool:
        return self._device.type == "cpu"

    def _seeded(self) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(int(self._generator.integers(2**62)))

    def _whole(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0] * self._ranks.world, *shape[1:])
