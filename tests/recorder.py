"""What a CUDA graph does, on a CPU: operations are recorded with their tensors, and carried out again in the same."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
WAITING = (aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal)
"""Operations whose result the host waits for: torch refuses to record them."""
RANDOM = (
    aten.rand,
    aten.randn,
    aten.randint,
    aten.randperm,
    aten.uniform_,
    aten.normal_,
    aten.bernoulli_,
    aten.dropout,
)
"""Operations that a graph would repeat with the generator of its own."""


class Recorder(TorchDispatchMode):
    """Records what is done while it is open; `repeat` does it again, with whatever the tensors hold by then."""

    def __init__(self) -> None:
        super().__init__()
        self._done: list[tuple] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in WAITING + RANDOM:
            raise RuntimeError(f"{func}: not permitted when a stream is captured")
        found = func(*args, **(kwargs or {}))
        self._done.append((func, args, kwargs or {}, found))
        return found

    def repeat(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, before in self._done:
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(before), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Recorded:
    """A `record` for `Replay`; `times` counts, for each recording, how often it was repeated."""

    def __init__(self) -> None:
        self.times: list[int] = []

    def __call__(self, work: Callable[[], dict[str, Tensor]]) -> Callable[[], dict[str, Tensor]]:
        with Recorder() as recorder:
            terms = work()
        self.times.append(0)

        def again() -> dict[str, Tensor]:
            if self.times[-1]:  # a graph carries out nothing when it is recorded; the first time is that one here
                recorder.repeat()
            self.times[-1] += 1
            return terms

        return again
