"""The optimiser Muon for the weights of convolutions.

Source: Jordan 2024, kellerjordan.github.io/posts/muon. torch's own (torch.optim.Muon) takes matrices alone, and its
iteration is in bf16 everywhere, which takes twenty times as long on a CPU that has no bf16 instructions.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from edgerkd.distill import together

ITERATIONS = 5
COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the iteration; chosen there to be steep at 0


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """The matrices (m, n), each with its singular values brought near 1: about 0.7 to 1.2.

    Newton and Schulz's iteration in its fifth-order form; singular values below about 0.001 of a matrix's
    length stay small. A step is x -> p x with p = a + b g + c g^2 and g = x x^T. As p and g commute, g can be followed
    alone, g -> p g p, and the matrix multiplied once, by the product of all p: ours, by algebra. For the filters of a
    3 x 3 convolution it takes less than half as long (docs/sources.md), and in float32 it is as exact. On a GPU, which
    waits for a small student's optimiser otherwise (docs/measured/gpu.md), all g of one size are followed together; on
    a CPU that takes a tenth longer.
    """
    wide = [matrix.T if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    groups: dict[int, list[int]] = {}
    for place, x in enumerate(wide):
        groups.setdefault(len(x) if x.is_cuda else -place, []).append(place)
    found = list(matrices)
    for places in groups.values():
        products = _products(torch.stack([wide[place] @ wide[place].T for place in places]))
        for place, product in zip(places, products, strict=True):
            x = product @ wide[place]
            found[place] = x.T if x.shape != matrices[place].shape else x
    return found


def _products(grams: Tensor) -> Tensor:
    """For each x x^T (k, m, m) the product of all p, over the length of x, with which x would begin at length 1."""
    lengths = grams.diagonal(dim1=1, dim2=2).sum(1).sqrt().clamp_min(1e-7)[:, None, None]
    grams = grams / lengths**2
    products = factors = _factors(grams)
    for _ in range(ITERATIONS - 1):
        grams = factors @ grams @ factors
        factors = _factors(grams)
        products = factors @ products
    return products / lengths


def _factors(grams: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    factors = torch.baddbmm(grams, grams, grams, beta=b, alpha=c)
    factors.diagonal(dim1=1, dim2=2).add_(a)
    return factors


class Muon(torch.optim.Optimizer):
    """Moves weights (o, i, h, w), as a matrix with a row a filter, along their Nesterov momentum made orthogonal.

    A matrix with more rows than columns moves by `sqrt(rows / columns)` as much. Weight decay is decoupled.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  torch's takes a closure
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            ahead = self._ahead(moved, group["momentum"])
            directions = orthogonal([each.flatten(1) for each in ahead])
            together.scale(moved, 1 - group["lr"] * group["weight_decay"])
            for p, each, direction in zip(moved, ahead, directions, strict=True):
                rows, columns = direction.shape
                p.add_(direction.reshape_as(each).movedim(3, 1), alpha=-group["lr"] * max(1, rows / columns) ** 0.5)

    def _ahead(self, moved: Sequence[nn.Parameter], momentum: float) -> list[Tensor]:
        """Where Nesterov's momentum leads, (o, h, w, i) each: as channels_last weights lie in memory."""
        gradients = [p.grad for p in moved if p.grad is not None]
        for p in moved:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        averages = [self.state[p]["momentum"] for p in moved]
        together.move(averages, gradients, 1 - momentum)
        return [each.movedim(1, 3) for each in together.between(gradients, averages, momentum)]
