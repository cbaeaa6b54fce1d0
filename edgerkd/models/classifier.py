"""A torch network as a `Classifier` for the attacks, in float32 or, where that is faster, led by bfloat16."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgerkd.core.errors import EngineError

NEAR = 0.1
"""The margin between the two largest logits below which bfloat16's answer does not count. Ours: APGD
fooled the same images as in float32 where that was tried (docs/measured/attacks.md)."""


class TorchClassifier:
    """Answers by autograd. Network and images are used as they are: mode, device, memory format."""

    def __init__(self, network: nn.Module, *, autocast: bool = False) -> None:
        self._network = network
        self._autocast = autocast

    def logits(self, images: Tensor) -> Tensor:
        """Float32 logits (n, k) of images (n, c, h, w)."""
        with torch.no_grad():
            return self._forward(images)

    def gradient(self, images: Tensor, cotangent: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Logits, and the gradient of sum(logits * cotangent(logits)) with the cotangent held constant."""
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            logits = self._forward(images)
            (gradient,) = torch.autograd.grad(logits, images, cotangent(logits.detach()))
        return logits.detach(), gradient

    def _forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._autocast):
            logits = self._network(images)
        if not isinstance(logits, Tensor):
            raise EngineError(
                f"the model returns a {type(logits).__name__}: expected one tensor of logits (n, classes); wrap it in "
                "a module that returns them alone"
            )
        return logits.float()


class Bfloat16Classifier:
    """A network whose gradients are computed in bfloat16, and the logits beside them in float32 where two are near.

    Asked for logits alone it answers in float32: an attack that sees no gradient goes by small changes of them, and by
    those of bfloat16 Square left 34 of 64 images where it leaves 30. Attacks are led by it; what they found is to be
    judged by a TorchClassifier.
    """

    def __init__(self, network: nn.Module) -> None:
        self._fast, self._exact = TorchClassifier(network, autocast=True), TorchClassifier(network)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (n, k) of images (n, c, h, w), in float32."""
        return self._exact.logits(images)

    def gradient(self, images: Tensor, cotangent: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The logits, and the gradient of bfloat16's own pass."""
        logits, gradient = self._fast.gradient(images, cotangent)
        first, second = logits.topk(2, dim=1).values.unbind(1)
        (rows,) = (first - second < NEAR).nonzero(as_tuple=True)
        if len(rows):
            logits = logits.index_copy(0, rows, self._exact.logits(images[rows]))
        return logits, gradient
