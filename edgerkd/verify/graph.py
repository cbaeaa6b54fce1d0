"""A graph and its gradient twin as a `Classifier` on the CPU of this machine."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.bundle.plugins import open_onnx
from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.verify.classifier import BATCH, EngineClassifier

OpenGraph = Callable[[bytes], AbstractContextManager[LiveEngine]]
"""Opens the content of a graph as a live engine, in this process or in one of its own."""


@contextmanager
def open_graph(graph: bytes, twin: bytes) -> Generator[EngineClassifier]:
    """Live until left, and opened for an attack. Raises as `open_onnx` does."""
    with open_onnx(graph, attacked=True) as engine, open_onnx(twin, attacked=True) as gradients:
        yield EngineClassifier(engine, gradients)


def reference_of_graph(graph: bytes, samples: StoredSamples) -> Reference:
    """What a graph answers to the samples, adversarial ones too where there are some. Raises as `open_onnx` does."""
    adv = samples.images_adv
    return Reference(
        logits=graph_logits(graph, samples.images), logits_adv=None if adv is None else graph_logits(graph, adv)
    )


def graph_logits(graph: bytes, images: FloatArray, *, opened: OpenGraph = open_onnx) -> FloatArray:
    """What a graph answers, `opened` so: logits (n, k) of images (n, c, h, w). Raises as that does."""
    with opened(graph) as engine:
        return np.concatenate([engine(images[i : i + BATCH])[0] for i in range(0, len(images), BATCH)])
