"""TensorRT-RTX: RTX desktops. Building needs no GPU; the engine is finished just in time where it runs.

The engine runs on compute capability 8.0 and later, the library's default; Turing (7.5) would need its own.
Source: https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/cpu-engines.html
"""

from pathlib import Path

from edgerkd.bundle.backend import LiveEngine
from edgerkd.core.engine import BuildLog
from edgerkd.core.precision import Placement
from edgerkd_exporters import _cuda, _tensorrt_engine
from edgerkd_exporters._tensorrt import TENSORRT_RTX, library
from edgerkd_exporters._tensorrt_process import build


class TensorRTRTXBackend:
    """Builds ahead of time, on any machine the package installs on; runs on a GPU, where the first call compiles."""

    name = "trt-rtx"
    suffix = ".plan"
    placement: Placement = "signed"

    def check(self) -> None:
        """Raises MissingDependencyError without the package and a GPU."""
        _tensorrt_engine.check(TENSORRT_RTX)

    def check_build(self) -> None:
        """Raises MissingDependencyError if the package is not installed."""
        library(TENSORRT_RTX)

    def build(self, graph: Path, target: Path, *, max_batch: int) -> BuildLog:
        """See `_tensorrt_process.build`."""
        return build(TENSORRT_RTX, graph, target, max_batch)

    def open(self, engine: Path) -> LiveEngine:
        """See `_tensorrt_engine.load`."""
        return _tensorrt_engine.load(TENSORRT_RTX, engine)

    def free_bytes(self) -> int:
        """See `_cuda.free_bytes`."""
        return _cuda.free_bytes()
