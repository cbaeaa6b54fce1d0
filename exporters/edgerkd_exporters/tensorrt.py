"""TensorRT 8.5 to 11: Jetson and data-centre GPUs. An engine belongs to one GPU and one version."""

from collections.abc import Sequence
from pathlib import Path

from edgerkd.bundle.ports import LiveEngine
from edgerkd_exporters import _tensorrt_engine
from edgerkd_exporters._tensorrt import Flavour, build

TENSORRT = Flavour(
    module="tensorrt",
    install='pip install "edgerkd[trt]" (on a Jetson: sudo apt install python3-libnvinfer, and a virtual environment '
    "made with --system-site-packages)",
    tag=b"ftrt",
)


class TensorRTExporter:
    """Builds on the GPU the engine is for."""

    name = "trt"
    suffix = ".plan"

    def check(self) -> None:
        """Raises MissingDependencyError without a working TensorRT and a GPU: the builder times its kernels on it."""
        _tensorrt_engine.check(TENSORRT)

    def export(self, graph: Path, target: Path, *, max_batch: int) -> Sequence[str]:
        """See `_tensorrt.build`."""
        self.check()
        return build(TENSORRT, graph, target, max_batch)


class TensorRTRuntime:
    """Runs what `TensorRTExporter` built on this GPU with this version."""

    name = "tensorrt"
    exporter = "trt"

    def check(self) -> None:
        """Raises MissingDependencyError without a working TensorRT and a GPU."""
        _tensorrt_engine.check(TENSORRT)

    def load(self, engine: Path) -> LiveEngine:
        """See `_tensorrt_engine.load`."""
        return _tensorrt_engine.load(TENSORRT, engine)
