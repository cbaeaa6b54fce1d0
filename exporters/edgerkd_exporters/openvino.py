"""OpenVINO, on the CPU: Intel's and others', in the precision that the graph has, where the processor has it too."""

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd.core.precision import Precision
from edgerkd.core.text import LONGEST_TEXT, printable
from edgerkd.files.onnx_frame import read_onnx
from edgerkd.files.onnx_precisions import layer_precisions
from edgerkd_exporters._checks import Shape, check_inputs
from edgerkd_exporters._cpu import cpu
from edgerkd_exporters._graph_engine import GraphIsEngine

_INSTALL = 'pip install "edgerkd[openvino]"'
_DEVICE = "CPU"
_TRANSPOSED = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")
_HINT = "INFERENCE_PRECISION_HINT"
# It is always given: without it a CPU that has bfloat16 computes float32 graphs in it, which moved logits by half a per
# cent, and one that has half computes them in half.
_HINTS: dict[Precision, str] = {"fp32": "f32", "fp16": "f16"}
# Int8 as it is written, in float32: of the twin of a quantised PreActResNet its own low-precision passes made logits
# that were wrong by their whole size. An engine without transposed convolutions is not touched.
_EXACT = {"LP_TRANSFORMS_MODE": False}


class OpenVINOBackend(GraphIsEngine):
    """The ONNX graph is the engine: what OpenVINO makes of it when it is loaded depends on the CPU."""

    name = "openvino"

    def check(self) -> None:
        """Raises MissingDependencyError where OpenVINO is not installed, or finds no CPU to run on."""
        ov = _library()
        if _DEVICE not in ov.Core().available_devices:
            raise MissingDependencyError(f"openvino {ov.__version__} has no {_DEVICE} plug-in here: {_INSTALL}")

    def build(self, graph: Path, target: Path, *, max_batch: int) -> BuildLog:
        """As of every graph that is the engine; the log says what this CPU will compute its float layers in.

        Nothing is said where OpenVINO does not run, which a copy does not need. Raises ArtefactError.
        """
        log = BuildLog()
        with suppress(MissingDependencyError):
            self.check()
            ov = _library()
            log = BuildLog(arithmetic=_arithmetic(ov, ov.Core(), graph, read_onnx(graph)))
        super().build(graph, target, max_batch=max_batch)
        return log

    def open(self, engine: Path) -> LiveEngine:
        """The graph compiled for this CPU: float32 where it says float32, half where all its layers do and it can be.

        Raises:
            MissingDependencyError: OpenVINO is not installed.
            ArtefactError: not an ONNX graph, damaged, or inputs and outputs that are not float32.
            EngineError: OpenVINO cannot run this graph, or computes in another precision than it was told.
        """
        return _Compiled(engine)


class _Compiled:
    backend = "openvino"

    def __init__(self, path: Path) -> None:
        ov = _library()
        content = read_onnx(path)
        try:
            core = ov.Core()
            model = core.read_model(content)
            config = {_HINT: _HINTS[_arithmetic(ov, core, path, content)]}
            transposed = _part_weights(ov, core, model)
            compiled = core.compile_model(model, _DEVICE, {**config, **(_EXACT if transposed else {})})
            self._request = compiled.create_infer_request()
            if (granted := compiled.get_property(_HINT)) != getattr(ov.Type, config[_HINT]):
                raise EngineError(
                    f"{path}: openvino {ov.__version__} was told to compute in {config[_HINT]}, and computes in "
                    f"{granted.get_type_name()}"
                )
        except RuntimeError as e:
            raise EngineError(f"{path}: openvino {ov.__version__} cannot load it: {_reason(e)}") from e
        odd = [end.any_name for end in (*model.inputs, *model.outputs) if end.element_type != ov.Type.f32]
        if odd:
            raise ArtefactError(f"{path}: inputs and outputs must be float32, not {', '.join(odd)}; export it again")
        self._path, self._lock = path, Lock()
        self._inputs: dict[str, Shape] = {
            end.any_name: tuple(None if size.is_dynamic else size.get_length() for size in end.partial_shape)
            for end in model.inputs
        }
        self.version: str = ov.__version__.partition("-")[0]
        self.device = cpu()

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        check_inputs(self._path, self._inputs, inputs)
        arrays = [np.ascontiguousarray(array) for array in inputs]
        with self._lock:  # one request serves one caller at a time, and keeps its outputs until the next
            try:
                found = self._request.infer(arrays)
            except RuntimeError as e:
                raise EngineError(f"{self._path}: openvino failed: {_reason(e)}") from e
            return tuple(np.array(value) for value in found.values())

    def __enter__(self) -> "_Compiled":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        del self._request


def _arithmetic(ov: ModuleType, core: Any, path: Path, onnx: bytes) -> Precision:
    """What a graph's float layers are computed in here: half where every layer of it is in half, and the CPU grants it.

    The hint is the whole network's: with it layers that stay in float32, for they would overflow, and those between
    quantisers are computed in half too (docs/measured/precision.md). Raises ArtefactError for a damaged graph.
    """
    half = set(layer_precisions(onnx, where=path).values()) == {"fp16"}
    return "fp16" if half and _grants_half(ov, core) else "fp32"


def _grants_half(ov: ModuleType, core: Any) -> bool:
    """Whether this CPU computes in half: seen by what is granted, for a request for half may end in bfloat16."""
    images = ov.opset13.parameter([1], ov.Type.f32)
    compiled = core.compile_model(ov.Model([images], [images], "nothing"), _DEVICE, {_HINT: _HINTS["fp16"]})
    return compiled.get_property(_HINT) == ov.Type.f16


def _part_weights(ov: ModuleType, core: Any, model: Any) -> bool:
    """Give each transposed convolution a float32 weight of its own; whether there is one.

    OpenVINO 2026.4 lays a weight that it shares with a convolution out for one of the two: the gradients of a twin had
    a cosine of 0.08 with those of ONNX Runtime, and of 0.02 where the weight is int8. With copies they are equal.
    """
    found = [node for node in model.get_ordered_ops() if node.get_type_name() in _TRANSPOSED]
    for node in found:
        weight = node.input(1).get_source_output()
        value = core.compile_model(ov.Model([weight], [], "weight"), _DEVICE, {_HINT: _HINTS["fp32"]})([])[0]
        node.input(1).replace_source_output(ov.opset13.constant(np.array(value)).output(0))
    return bool(found)


def _library() -> ModuleType:
    """OpenVINO without the counter of its uses, which writes an id into the user's home and sends from there."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  so that its import fails
    try:
        return importlib.import_module("openvino")
    except (ImportError, OSError) as e:
        raise MissingDependencyError(f"openvino cannot be imported ({e}): {_INSTALL}") from e


def _reason(e: Exception) -> str:
    return printable(" ".join(str(e).split()), LONGEST_TEXT)
