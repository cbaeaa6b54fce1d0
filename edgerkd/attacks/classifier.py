"""The two questions every attack asks, whatever answers them: a torch model or a deployed engine."""

from collections.abc import Callable
from typing import Any, Protocol

Array = Any  # any array of the Python array API standard: torch, NumPy, CuPy; the standard has no common type

Cotangent = Callable[[Array], Array]
"""logits (n, k) -> the derivative of a loss in the logits (n, k)."""


class Classifier(Protocol):
    """Images are float32 (n, c, h, w) in [0, 1]; logits float32 (n, k)."""

    def logits(self, images: Array, /) -> Array:
        """The logits of `images`."""
        ...

    def gradient(self, images: Array, cotangent: Cotangent, /) -> tuple[Array, Array]:
        """The logits, and d(sum(logits * c)) / d(images) with c = cotangent(logits) held constant.

        One pass forward and one backward: the loss is evaluated on the logits of the very pass
        that is differentiated (docs/adr/0012).
        """
        ...
