"""Expectation over transformation: attacks on a model that answers at random."""

from edgerkd.attacks.classifier import Array, Classifier, Cotangent


class Expected:
    """A classifier's mean over several calls. Source: Athalye et al. 2018, arXiv 1707.07397, section 2.1.

    The gradient is the mean of each call's own, for the loss at that call's logits.
    """

    def __init__(self, classifier: Classifier, calls: int) -> None:
        self._classifier = classifier
        self._calls = calls

    def logits(self, images: Array) -> Array:
        """The mean logits (n, k)."""
        return sum(self._classifier.logits(images) for _ in range(self._calls)) / self._calls

    def gradient(self, images: Array, cotangent: Cotangent) -> tuple[Array, Array]:
        """The mean logits, and the mean image gradient."""
        found = [self._classifier.gradient(images, cotangent) for _ in range(self._calls)]
        return sum(z for z, _ in found) / self._calls, sum(g for _, g in found) / self._calls
