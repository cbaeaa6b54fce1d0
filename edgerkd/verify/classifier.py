"""A deployed engine as a `Classifier`: its own logits drive the attack, its gradient twin says which way."""

from collections.abc import Callable

import numpy as np

from edgerkd.attacks.classifier import Classifier, Cotangent
from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.bundle.image_rows import ImageRows, in_batches
from edgerkd.bundle.samples import LOGITS_LIMIT
from edgerkd.core.errors import EngineError
from edgerkd.core.units import format_size

BATCH = 64
"""Images that an engine is shown at once."""


class EngineClassifier:
    """Images float32 (n, c, h, w); BPDA through whatever rounding the engine does (Athalye et al. 2018)."""

    def __init__(self, engine: LiveEngine, twin: LiveEngine, *, log_probabilities: bool = False) -> None:
        """With `log_probabilities` the engine gives the logarithms of a softmax, of whose logits the twin is."""
        self._engine = engine
        self._twin = twin
        self._log_probabilities = log_probabilities

    def logits(self, images: FloatArray) -> FloatArray:
        """The engine's logits. Raises EngineError if they are not finite, or no row of numbers an image."""
        (logits,) = self._engine(images)
        if logits.ndim != 2:
            raise EngineError(
                f"{self._engine.backend} returns logits of the shape {logits.shape}: expected (n, classes)"
            )
        return _finite(logits, self._engine)

    def gradient(self, images: FloatArray, cotangent: Cotangent) -> tuple[FloatArray, FloatArray]:
        """The engine's logits, and the twin's image gradient for the loss at those logits."""
        logits = self.logits(images)
        weights = np.asarray(cotangent(logits), np.float32)
        if self._log_probabilities:  # d log softmax(z) / dz, transposed: c - softmax(z) sum(c)
            weights = weights - np.exp(logits) * weights.sum(1, keepdims=True)
        _, gradient = self._twin(images, weights)
        if gradient.shape != images.shape:
            raise EngineError(f"the gradient twin returns the shape {gradient.shape} for images of {images.shape}")
        if not np.isfinite(gradient).all():
            raise EngineError(f"the gradient twin on {self._twin.backend} returns NaN or infinite gradients")
        return logits, gradient


def _finite(logits: FloatArray, engine: LiveEngine) -> FloatArray:
    if not np.isfinite(logits).all():
        rows = int((~np.isfinite(logits)).any(1).sum())
        raise EngineError(
            f"{engine.backend} returns NaN or infinite logits for {rows} of {len(logits)} images: "
            "a weight or an activation does not fit the engine's precision; build it in fp32"
        )
    return logits


def logits_of(classifier: Classifier, images: FloatArray | ImageRows) -> FloatArray:
    """All logits (n, k), asked for in batches; of no images the engine is not asked, and they are (0, 1)."""
    if not len(images):
        return np.empty((0, 1), np.float32)
    return answers_to(images, classifier.logits)


def answers_to(images: FloatArray | ImageRows, ask: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """All logits (n, k), asked for in batches. Raises EngineError where they are none, or too many to hold."""
    parts: list[FloatArray] = []
    for batch in in_batches(images, BATCH):
        parts.append(ask(batch))
        _check_logits(parts, len(batch), of=len(images))
    return np.concatenate(parts)


def _check_logits(parts: list[FloatArray], n: int, *, of: int) -> None:
    """Raises EngineError where the last of the `parts`, of n images, has no logits (n, k) as the first has.

    Also where those of all images, so many as `of` says, would take more memory than a bundle's may.
    """
    first, last = parts[0], parts[-1]
    if last.ndim != 2 or len(last) != n or last.shape[1] != first.shape[-1]:
        raise EngineError(f"logits of the shape {last.shape} came for {n} images, and a row for each is expected")
    if (size := of * last.shape[1] * last.itemsize) > LOGITS_LIMIT:
        raise EngineError(f"{last.shape[1]:,} logits come for each image: {format_size(size)} in all are too many")
