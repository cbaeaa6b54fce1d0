"""What the backends have in common whose engine is the ONNX graph itself."""

from pathlib import Path

from edgerkd.core.engine import BuildLog
from edgerkd.core.precision import Placement
from edgerkd.files.atomic import write_atomic
from edgerkd.files.onnx_frame import read_onnx


class GraphIsEngine:
    """Precision and batch range are already in the graph."""

    suffix = ".onnx"
    placement: Placement | None = "unsigned"

    def check_build(self) -> None:
        """Always possible: nothing but the standard library is needed."""

    def build(self, graph: Path, target: Path, *, max_batch: int) -> BuildLog:
        """Copy `graph` to `target` whole or not at all; `max_batch` sets no limit here.

        Raises:
            ArtefactError: `graph` is not an ONNX graph.
        """
        write_atomic(target, read_onnx(graph))
        return BuildLog()
