"""TensorRT 8.5 to 11: Jetson and data-centre GPUs. An engine belongs to one GPU and one version."""

from pathlib import Path

from edgerkd.bundle.backend import LiveEngine
from edgerkd.core.engine import BuildLog
from edgerkd.core.precision import Placement
from edgerkd_exporters import _cuda, _tensorrt_engine
from edgerkd_exporters._tensorrt import TENSORRT
from edgerkd_exporters._tensorrt_process import build


class TensorRTBackend:
    """Builds on the GPU the engine is for, and runs what was built there with this version."""

    name = "trt"
    suffix = ".plan"
    placement: Placement = "signed"

    def check(self) -> None:
        """Raises MissingDependencyError without a working TensorRT and a GPU."""
        _tensorrt_engine.check(TENSORRT)

    def check_build(self) -> None:
        """The same: the builder times its kernels on the GPU."""
        self.check()

    def build(self, graph: Path, target: Path, *, max_batch: int) -> BuildLog:
        """See `_tensorrt_process.build`."""
        self.check()
        return build(TENSORRT, graph, target, max_batch)

    def open(self, engine: Path) -> LiveEngine:
        """See `_tensorrt_engine.load`."""
        return _tensorrt_engine.load(TENSORRT, engine)

    def free_bytes(self) -> int:
        """See `_cuda.free_bytes`."""
        return _cuda.free_bytes()
