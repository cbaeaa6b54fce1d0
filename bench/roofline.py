"""The least time that a training step can take on this machine, measured piece by piece.

The step's operations are recorded as torch carries them out, backward passes included. The bound is a sum over them:

* a convolution, each of its two gradients apart, and a matrix product: what that very operation takes on its own, on
  tensors of the same shape, number format and memory format that are in the caches already;
* any other operation that computes (batch norm, ReLU, sum, and their gradients): the bytes of its inputs and outputs,
  each counted once, over the bandwidth of a copy. A batch norm in training reads its input twice, for the statistics
  and to normalise: it is counted once.

Bandwidth is that of `Tensor.copy_`, read and write counted, for blocks of 256 KiB to 256 MiB: an operation is held
against the smallest block that is no smaller than its own bytes, as if it found them in a cache of that size. The best
of several rounds counts. Operations are taken as the step makes them. So these are left out: that two of them could be
one pass (a batch norm and its ReLU in a compiler's kernel), convolutions by another algorithm than torch's, and that a
step finds its maps in memory and not in a cache. Views, conversions between number formats, copies, memory, NumPy's
random numbers, the interpreter and torch's dispatch count as nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from setting import clock
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten: Any = torch.ops.aten  # Any: torch's stubs do not know its operators
TIMED = frozenset((aten.convolution, aten.convolution_backward, aten.mm, aten.addmm, aten.bmm, aten.baddbmm))
"""Operations that are timed on their own."""
FREE = frozenset(
    (
        aten._to_copy,
        aten.copy_,
        aten.clone,
        aten.empty,
        aten.empty_like,
        aten.detach,
        aten.arange,
        aten.fill_,
        aten.zero_,
    )
)
"""Operations that move or make numbers, and compute none."""
BLOCKS = tuple(2**power for power in range(18, 29, 2))  # bytes of a copy's source and target together
TIMES = 12  # that an operation is timed; the best counts
LEAST = 5e-3  # seconds of a measurement: a shorter operation is repeated within it

Key = tuple[Any, ...]
Pass = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Seconds of a step at least, by kind of operation, and the bandwidths in bytes a second, by the block's bytes."""

    products: float
    """Convolutions, their gradients, matrix products."""
    moved: float
    """All other operations: bytes moved."""
    bandwidth: Mapping[int, float]

    @property
    def seconds(self) -> float:
        return self.products + self.moved


class Recorder(TorchDispatchMode):
    """Counts equal operations: `products` by what makes them anew, `moved` by their bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[Key] = Counter()
        self.moved: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in TIMED:
            for given in _apart(packet, args):
                self.products[(func, *map(_described, given))] += 1
        elif packet not in FREE and not func.is_view:
            self.moved[_bytes((args, result))] += 1
        return result


def bound_of(step: Pass) -> Bound:
    """The bound of this step, which is run once to record it."""
    with Recorder() as recorder:
        step()
    bandwidth = {block: measured_bandwidth(block) for block in BLOCKS}
    products = 0.0
    for (func, *described), times in recorder.products.items():
        made = [_made(each) for each in described]
        products += times * best(lambda func=func, made=made: func(*made))
    moved = sum(times * _moving(size, bandwidth) for size, times in recorder.moved.items())
    return Bound(products=products, moved=moved, bandwidth=bandwidth)


def best(operation: Pass) -> float:
    """Seconds of one call, the best of several measurements: of this thread's processor time where there is one."""
    operation()
    started = clock()
    operation()
    repeats = max(1, round(LEAST / max(clock() - started, 1e-6)))
    found: list[float] = []
    for _ in range(TIMES):
        started = clock()
        for _ in range(repeats):
            operation()
        found.append((clock() - started) / repeats)
    return min(found)


def measured_bandwidth(block: int) -> float:
    """Bytes a second that a copy reads and writes, source and target together `block` bytes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    source = torch.zeros(block // 2, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source).fill_(0)
    return block / best(lambda: target.copy_(source))


def _moving(size: int, bandwidth: Mapping[int, float]) -> float:
    block = next((block for block in sorted(bandwidth) if block >= size), max(bandwidth))
    return size / bandwidth[block]


def _apart(packet: Any, args: tuple[Any, ...]) -> Iterable[tuple[Any, ...]]:
    """A convolution's gradients one by one: those of its input, and those of its weight and bias."""
    if packet is not aten.convolution_backward:
        return (args,)
    first, weight, bias = args[-1]
    masks = [mask for mask in ([first, False, False], [False, weight, bias]) if any(mask)]
    return [(*args[:-1], mask) for mask in masks]


def _described(value: Any) -> Key:
    """What an argument is, to be counted by and made anew."""
    if isinstance(value, Tensor):
        return "tensor", tuple(value.shape), value.stride(), value.dtype, value.device
    return "value", tuple(value) if isinstance(value, list) else value


def _made(described: Key) -> Any:
    kind, *parts = described
    if kind == "value":
        return list(parts[0]) if isinstance(parts[0], tuple) else parts[0]
    shape, stride, dtype, device = parts
    return torch.empty_strided(shape, stride, dtype=dtype, device=device).normal_()


def _bytes(values: Any) -> int:
    """Of all tensors in there; what is written in place counts as read and written."""
    if isinstance(values, Tensor):
        return values.numel() * values.element_size()
    return sum(map(_bytes, values)) if isinstance(values, list | tuple) else 0
