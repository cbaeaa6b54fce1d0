"""ONNX itself, and ONNX Runtime on the CPU: the backend that runs everywhere and the reference for the others."""

import importlib
import platform
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.core.engine import BuildLog, DeviceRecord
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd.core.precision import Placement
from edgerkd.files.atomic import write_atomic
from edgerkd_exporters._checks import Shape, check_inputs, read_onnx

_PROVIDER = "CPUExecutionProvider"
_INSTALL = 'pip install "edgerkd[ort]"'

# What `check` runs: one Identity node, float32 "x" of shape (1,) to "y". A test makes it anew with onnx.helper.
_IDENTITY = bytes.fromhex(
    "08083a3b0a100a017812017922084964656e746974791205636865636b5a0f0a0178120a0a08080112040a02"
    "0801620f0a0179120a0a08080112040a02080142040a00100d"
)


class OnnxBackend:
    """The ONNX graph is the engine: precision and batch range are already in it. ONNX Runtime runs it, on the CPU."""

    name = "onnx"
    suffix = ".onnx"
    placement: Placement = "unsigned"

    def check(self) -> None:
        """Runs a graph of one node.

        Raises:
            MissingDependencyError: not installed, or without a working CPU provider.
        """
        ort = _library()
        try:
            _session(ort, _IDENTITY).run(None, {"x": np.zeros(1, np.float32)})
        except (EngineError, *_failures()) as e:
            raise MissingDependencyError(f"onnxruntime {ort.__version__} does not work here ({e}): {_INSTALL}") from e

    def check_build(self) -> None:
        """Always possible: nothing but the standard library is needed."""

    def build(self, graph: Path, target: Path, *, max_batch: int) -> BuildLog:
        """Copy `graph` to `target` whole or not at all; `max_batch` sets no limit here.

        Raises:
            ArtefactError: `graph` is not an ONNX graph.
        """
        write_atomic(target, read_onnx(graph))
        return BuildLog()

    def open(self, engine: Path) -> LiveEngine:
        """A session for the ONNX file `engine`, on the CPU.

        Raises:
            MissingDependencyError: onnxruntime is not installed.
            ArtefactError: not an ONNX graph, or inputs and outputs that are not float32.
            EngineError: ONNX Runtime cannot run this graph.
        """
        return _Session(engine)


class _Session:
    backend = "onnx"

    def __init__(self, path: Path) -> None:
        ort = _library()
        read_onnx(path)
        try:
            self._session = _session(ort, str(path))
        except _errors().InvalidProtobuf as e:
            raise ArtefactError(f"{path}: not an ONNX graph, or damaged: {e}") from e
        except _failures() as e:
            raise EngineError(f"{path}: onnxruntime {ort.__version__} cannot load it: {e}") from e
        ends = [*self._session.get_inputs(), *self._session.get_outputs()]
        if odd := [f"{end.name}: {end.type}" for end in ends if end.type != "tensor(float)"]:
            raise ArtefactError(f"{path}: inputs and outputs must be float32, not {', '.join(odd)}; export it again")
        self._path = path
        self._inputs: dict[str, Shape] = {
            end.name: tuple(size if isinstance(size, int) else None for size in end.shape)
            for end in self._session.get_inputs()
        }
        self.version: str = ort.__version__
        self.device = _cpu()

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        check_inputs(self._path, self._inputs, inputs)
        try:
            return tuple(self._session.run(None, dict(zip(self._inputs, inputs, strict=True))))
        except _failures() as e:
            raise EngineError(f"{self._path}: onnxruntime failed: {e}") from e

    def __enter__(self) -> "_Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        del self._session


def _library() -> ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except (ImportError, OSError) as e:
        raise MissingDependencyError(f"onnxruntime cannot be imported ({e}): {_INSTALL}") from e


def _session(ort: ModuleType, model: str | bytes) -> Any:  # an InferenceSession
    """A session that holds as little memory as it can and runs on the CPU provider only.

    Without the arena and the memory pattern a ResNet-18 for 32x32 images, called with 1 and 64 images, peaks at 203 MB
    instead of 260 MB and is no slower (onnxruntime 1.31.1, 2 cores: 5.8 and 306 ms against 5.6 and 304 ms).
    """
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors; they are raised as well
    session = ort.InferenceSession(model, options, providers=[_PROVIDER])
    if session.get_providers() != [_PROVIDER]:
        raise EngineError(f"onnxruntime runs on {session.get_providers()}, not on {_PROVIDER} alone")
    return session


def _errors() -> ModuleType:
    return importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")


def _failures() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions; they have no common base."""
    e = _errors()
    return (e.EPFail, e.Fail, e.InvalidArgument, e.InvalidGraph, e.NotImplemented, e.RuntimeException)


def _cpu() -> DeviceRecord:
    """Such as x86_64, AMD EPYC 9V74; without the model where the kernel does not tell it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    machine = platform.machine() or "unknown"
    return DeviceRecord(kind="cpu", name=models[0] if models and models[0] else machine, machine=machine)
