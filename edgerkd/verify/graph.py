"""A graph and its gradient twin as a `Classifier` on the CPU of this machine."""

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

from edgerkd.bundle.backend import FloatArray
from edgerkd.bundle.plugins import open_onnx
from edgerkd.verify.classifier import EngineClassifier

BATCH = 64


@contextmanager
def open_graph(graph: bytes, twin: bytes) -> Generator[EngineClassifier]:
    """Live until left. Raises as `open_onnx` does."""
    with open_onnx(graph) as engine, open_onnx(twin) as gradients:
        yield EngineClassifier(engine, gradients)


def graph_logits(graph: bytes, images: FloatArray) -> FloatArray:
    """What a graph answers: logits (n, k) of images (n, c, h, w). Raises as `open_onnx` does."""
    with open_onnx(graph) as engine:
        return np.concatenate([engine(images[i : i + BATCH])[0] for i in range(0, len(images), BATCH)])
