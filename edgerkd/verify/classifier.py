"""A deployed engine as a `Classifier`: its own logits drive the attack, its gradient twin says which way."""

import numpy as np

from edgerkd.attacks.classifier import Classifier, Cotangent
from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.bundle.image_rows import ImageRows
from edgerkd.core.errors import EngineError

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
    parts = (images[first : first + BATCH] for first in range(0, len(images), BATCH))
    return np.concatenate([classifier.logits(part) for part in parts])
