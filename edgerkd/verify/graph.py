"""A graph and its gradient twin as a `Classifier` on the CPU of this machine."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.bundle.image_rows import ImageRows
from edgerkd.bundle.plugins import open_onnx
from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.core.errors import ConfigError, EngineError
from edgerkd.verify.classifier import EngineClassifier, answers_to
from edgerkd.verify.isolated import open_isolated

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
    with open_onnx(graph) as engine:
        return Reference(
            logits=engine_logits(engine, samples.floats),
            logits_adv=None if adv is None else engine_logits(engine, adv),
        )


def graph_logits(graph: bytes, images: FloatArray | ImageRows, *, opened: OpenGraph = open_onnx) -> FloatArray:
    """What a graph answers, `opened` so: logits (n, k) of images (n, c, h, w). Raises as that does."""
    with opened(graph) as engine:
        return engine_logits(engine, images)


def engine_logits(engine: LiveEngine, images: FloatArray | ImageRows) -> FloatArray:
    """What an engine answers first, a batch at a time: logits (n, k) of images (n, c, h, w). Raises as it does."""
    return answers_to(images, lambda batch: engine(batch)[0])


def run_apart(graph: bytes, images: FloatArray, *, where: str) -> None:
    """Run a stranger's graph on a batch of images, in a process of its own within limits, before it is run in this one.

    Raises ConfigError where it fails, crashes, or takes more time or memory than a network of its size.
    """
    try:
        with open_isolated(graph, name=where) as engine:
            engine(images)
    except EngineError as e:
        raise ConfigError(str(e)) from e
