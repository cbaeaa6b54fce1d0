"""An engine that another tool built from a user's own graph, used as if it were made from the adopted one."""

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.core.adoption import Adoption, Normalization, Order
from edgerkd.core.errors import ConfigError, EngineError

_LEAST = np.finfo(np.float32).tiny
"""A probability of 0 counts as the smallest normal float32, so that its logarithm is finite. Ours."""


class AdaptedEngine:
    """Images float32 (n, c, h, w) in [0, 1] to logits (n, k), by NumPy around the engine.

    `batch` is the number of images that the engine takes at once, if that is fixed: larger batches are split, and the
    last part is filled up with copies of its last image. Raises ConfigError for an adoption that resizes images, or
    takes a tensor from inside the graph, which only the adopted graph does.
    """

    def __init__(self, engine: LiveEngine, adoption: Adoption, *, batch: int | None = None) -> None:
        if adoption.resized_from is not None:
            raise ConfigError(
                f"an engine built elsewhere takes images of {adoption.width}x{adoption.height}, and the data's are "
                "resized inside the adopted graph: build the engine from that graph with `edgerkd build`, or give data "
                "of the engine's size"
            )
        if adoption.output_place is None:
            raise ConfigError(
                f"an engine built elsewhere does not give {adoption.output!r}, which is inside the graph: name one of "
                "the graph's own outputs with --output"
            )
        self._engine, self._adoption, self._batch, self._output = engine, adoption, batch, adoption.output_place
        self.backend, self.version, self.device = engine.backend, engine.version, engine.device

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        """Logits for one batch. Raises EngineError if the engine fails, or gives no scores."""
        (images,) = inputs
        prepared = prepare(images, self._adoption)
        size = self._batch or max(1, len(images))
        parts = [self._scores(prepared[start : start + size]) for start in range(0, max(1, len(images)), size)]
        return (to_logits(np.concatenate(parts), self._adoption),)

    def _scores(self, part: NDArray[Any]) -> FloatArray:
        """(n, k) of at most one batch of the engine's."""
        n = len(part)
        if self._batch is not None and n < self._batch:
            part = np.concatenate([part, *[part[-1:]] * (self._batch - n)])
        outputs = self._engine(part)
        if self._output >= len(outputs):
            raise EngineError(f"the engine has {len(outputs)} outputs, and none at place {self._output}")
        scores: Any = np.asarray(outputs[self._output], np.float32)  # Any: NumPy's types of shapes are loose
        if scores.ndim < 2 or len(scores) != len(part):
            raise EngineError(f"the engine gives scores of the shape {scores.shape} for {len(part)} images")
        return scores.reshape(len(part), -1)[:n]

    def __enter__(self) -> "AdaptedEngine":
        self._engine.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._engine.__exit__(kind, error, trace)


def normalised(images: FloatArray, normalization: Normalization, order: Order) -> FloatArray:
    """Images (n, c, h, w) less the mean over the deviation, a channel, and then in this order of channels."""
    mean, std = (np.asarray(row, np.float32)[:, None, None] for row in (normalization.mean, normalization.std))
    x: FloatArray = (images - mean) / std
    return np.ascontiguousarray(x[:, ::-1]) if order == "bgr" else x


def prepare(images: FloatArray, adoption: Adoption) -> NDArray[Any]:
    """What the graph takes, in its own type and layout, of images float32 (n, c, h, w) in [0, 1] of its own size."""
    a = adoption
    x: Any = np.repeat(images, a.channels, axis=1) if a.grey_repeated else images  # Any: as above
    x = normalised(x, a.normalization, a.order)
    if a.input_type == "uint8":
        x = x.round().clip(0, 255)
    if a.layout == "nhwc":
        x = x.transpose(0, 2, 3, 1)
    x = x.reshape(len(x), *a.input_shape)
    return np.ascontiguousarray(x.astype(a.input_type))


def to_logits(scores: FloatArray, adoption: Adoption) -> FloatArray:
    """Logits (n, k) of the scores that the graph gives itself, whose softmax or sigmoid they undo up to a constant."""
    if adoption.removed == "softmax":
        return np.log(np.maximum(scores, _LEAST))
    if adoption.removed in ("sigmoid", "binary_sigmoid"):
        logits = np.log(np.maximum(scores, _LEAST)) - np.log(np.maximum(1 - scores, _LEAST))
        return logits if adoption.removed == "sigmoid" else logits * np.asarray([-0.5, 0.5], np.float32)
    return scores
