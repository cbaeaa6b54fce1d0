"""The optimiser Muon for the weights of convolutions.

Source: Jordan 2024, kellerjordan.github.io/posts/muon. torch's own (torch.optim.Muon) takes matrices alone, and its
iteration is in bf16 everywhere, which takes twenty times as long on a CPU that has no bf16 instructions.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

ITERATIONS = 5
COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the iteration; chosen there to be steep at 0


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix (m, n) with its singular values brought near 1: about 0.7 to 1.2.

    Newton and Schulz's iteration in its fifth-order form; singular values below about 0.001 of the matrix's
    length stay small. A step is x -> p x with p = a + b g + c g^2 and g = x x^T. As p and g commute, g can be followed
    alone, g -> p g p, and the matrix multiplied once, by the product of all p: ours, by algebra. For the filters of a
    3 x 3 convolution it takes less than half as long (docs/sources.md), and in float32 it is as exact.
    """
    x = matrix / matrix.norm().clamp_min(1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    gram = x @ x.T
    product = factor = _factor(gram)
    for _ in range(ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    x = product @ x
    return x.T if tall else x


def _factor(gram: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor


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
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group["lr"], group["momentum"], group["weight_decay"])

    def _move(self, p: Tensor, gradient: Tensor, lr: float, momentum: float, weight_decay: float) -> None:
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        average = state["momentum"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(average, momentum).movedim(1, 3)  # as channels_last weights lie in memory
        direction = orthogonal(ahead.flatten(1))
        rows, columns = direction.shape
        p.mul_(1 - lr * weight_decay)
        p.add_(direction.reshape_as(ahead).movedim(3, 1), alpha=-lr * max(1, rows / columns) ** 0.5)
