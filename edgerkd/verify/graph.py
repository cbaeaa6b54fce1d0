"""A graph and its gradient twin as a `Classifier` on the CPU of this machine."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgerkd.bundle.backend import FloatArray
from edgerkd.bundle.plugins import load_backend
from edgerkd.verify.classifier import EngineClassifier

BACKEND = "onnx"
BATCH = 64


@contextmanager
def open_graph(graph: bytes, twin: bytes) -> Generator[EngineClassifier]:
    """Live until left. Raises MissingDependencyError without ONNX Runtime, EngineError where it does not run."""
    backend = load_backend(BACKEND)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        paths = Path(folder, "model.onnx"), Path(folder, "twin.onnx")
        for path, content in zip(paths, (graph, twin), strict=True):
            path.write_bytes(content)
        yield EngineClassifier(*(stack.enter_context(backend.open(path)) for path in paths))


def graph_logits(graph: bytes, images: FloatArray) -> FloatArray:
    """What a graph answers: logits (n, k) of images (n, c, h, w). Raises as `open_graph` does."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(graph)
        with load_backend(BACKEND).open(path) as engine:
            return np.concatenate([engine(images[i : i + BATCH])[0] for i in range(0, len(images), BATCH)])
