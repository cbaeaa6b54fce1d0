"""The processes that train one network together: each takes its part of every batch."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgerkd.core.errors import LostRankError


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """This process's number and how many there are. Alone, all of it costs nothing."""

    rank: int = 0
    world: int = 1
    group: dist.ProcessGroup | None = None

    def __deepcopy__(self, memo: object) -> "Parallel":
        """Itself: a copy of a network trains among the same processes."""
        return self

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """This process's GPU, else the CPU."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())

    def part(self, batch: Any) -> Any:  # Any: a tensor or an array
        """This process's rows of a whole batch, which `world` divides."""
        n = len(batch) // self.world
        return batch[self.rank * n : (self.rank + 1) * n]

    def sum(self, value: Tensor) -> Tensor:
        """The sum of all processes' values, the same bits for each. Raises LostRankError where one has ended."""
        with peers():
            dist.all_reduce(total := value.clone(), group=self.group)
        return total

    def mean(self, value: Tensor) -> Tensor:
        """The mean of all processes' values, the same bits for each."""
        if self.world == 1:
            return value
        return self.sum(value) / self.world

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the mean of all processes' gradients in place of each one's own."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        means = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, means.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


ONE = Parallel()


@contextmanager
def peers() -> Iterator[None]:
    """Around what all processes do together. Gloo says RuntimeError for everything; here it is LostRankError."""
    try:
        yield
    except RuntimeError as e:
        raise LostRankError(
            "another rank of this command has ended before its work was done; its own message says why. "
            "What was finished is kept: start again with the same flags, or for a training with --resume"
        ) from e
