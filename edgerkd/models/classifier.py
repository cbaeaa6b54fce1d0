"""A torch network as a `Classifier` for the attacks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgerkd.core.errors import EngineError


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
