"""What a backend in `edgerkd_exporters` must offer. Found by entry point, third-party ones too."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.engine import BuildLog, DeviceRecord
from edgerkd.core.precision import Placement

FloatArray = NDArray[np.float32]


class LiveEngine(Protocol):
    """A loaded engine. Arrays are float32 on the host, one batch dimension first, any batch size."""

    backend: str
    version: str
    device: DeviceRecord

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        """All outputs for one batch, in the graph's order. Raises EngineError if the engine fails."""
        ...

    def __enter__(self) -> "LiveEngine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Free what the engine holds."""
        ...


@runtime_checkable
class TimedEngine(LiveEngine, Protocol):
    """A live engine that can tell how long the device itself computes."""

    def device_ms(self, *inputs: FloatArray) -> float:
        """Milliseconds for one batch on the device alone, without copies. Raises EngineError if the engine fails."""
        ...


class Backend(Protocol):
    """ONNX graph -> engine file -> live engine. An engine belongs to one device and one version: build it there.

    `suffix` is how its engine files end, `placement` where its kernels want the quantisers of an int8 graph; None where
    it has none for such a graph.
    """

    name: str
    suffix: str
    placement: Placement | None

    def check(self) -> None:
        """Really tries; raises MissingDependencyError, with the reason and the fix, if engines cannot run here."""
        ...

    def check_build(self) -> None:
        """Raises MissingDependencyError, with the reason and the fix, where this cannot build here."""
        ...

    def build(self, graph: Path, target: Path, *, max_batch: int) -> BuildLog:
        """Write `target` from the ONNX file `graph`, for batches 1 to `max_batch`.

        Raises EngineError if the graph cannot be built, ArtefactError if it is not an ONNX graph.
        """
        ...

    def open(self, engine: Path) -> LiveEngine:
        """Raises ArtefactError for a damaged or foreign file, EngineError if it cannot be loaded."""
        ...


@runtime_checkable
class AttackedBackend(Backend, Protocol):
    """A backend that opens an engine in another way where an attack asks it thousands of times, beside its twin."""

    def open_for_attacks(self, engine: Path) -> LiveEngine:
        """As `open`: the same engine with the same answers, faster for many images at once."""
        ...


@runtime_checkable
class GpuBackend(Backend, Protocol):
    """A backend whose engines lie in a GPU's memory."""

    def free_bytes(self) -> int:
        """What is free of that memory now. Raises EngineError, or MissingDependencyError, where it cannot be asked."""
        ...


def open_engine(backend: Backend, engine: Path, *, attacked: bool) -> LiveEngine:
    """The engine in a file; if `attacked`, as fast for an attack as the backend can. Raises as `open` does."""
    if attacked and isinstance(backend, AttackedBackend):
        return backend.open_for_attacks(engine)
    return backend.open(engine)
