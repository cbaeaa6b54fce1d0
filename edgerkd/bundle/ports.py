"""What a back-end in `edgerkd_exporters` must offer. Found by entry point, third-party ones too."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class LiveEngine(Protocol):
    """A loaded engine. Arrays are float32 on the host, one batch dimension first, any batch size."""

    runtime: str
    version: str
    device: str

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        """All outputs for one batch, in the graph's order. Raises EngineError if the engine fails."""
        ...

    def __enter__(self) -> "LiveEngine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Free what the engine holds."""
        ...


class Exporter(Protocol):
    """ONNX graph -> the file that one runtime loads. An engine belongs to one device: build it there."""

    name: str
    suffix: str

    def check(self) -> None:
        """Raises MissingDependencyError, with the reason and how to fix it, where this cannot export here."""
        ...

    def export(self, graph: Path, target: Path, *, max_batch: int) -> Sequence[str]:
        """Write `target` from the ONNX file `graph`, for batches 1 to `max_batch`.

        Returns notes for the report: what was decided while building, such as "TF32 off".
        Raises EngineError if the graph cannot be built, ArtefactError if it is not an ONNX graph.
        """
        ...


class Runtime(Protocol):
    """The file an exporter wrote -> a live engine."""

    name: str
    exporter: str

    def check(self) -> None:
        """Really tries; raises MissingDependencyError, with the reason and how to fix it, if it cannot run here."""
        ...

    def load(self, engine: Path) -> LiveEngine:
        """Raises ArtefactError for a damaged or foreign file, EngineError if it cannot be loaded."""
        ...
