"""ONNX itself, and ONNX Runtime on the CPU: the backend that runs everywhere and the reference for the others.

The same runtime on a GPU is in onnx_gpu.py.
"""

import importlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd.files.onnx_frame import read_onnx
from edgerkd.files.system import usable_cores
from edgerkd_exporters._checks import CASTS_TO_HALF, Shape, check_inputs
from edgerkd_exporters._cpu import cpu
from edgerkd_exporters._cuda import Gpu
from edgerkd_exporters._graph_engine import GraphIsEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One of ONNX Runtime's execution providers: `options` are its own, `install` what brings it."""

    backend: str
    name: str
    install: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def on_gpu(self) -> bool:
        return self.name != "CPUExecutionProvider"


CPU = Provider(backend="onnx", name="CPUExecutionProvider", install='pip install "edgerkd[ort]"')

# What `check` runs: one Identity node, float32 "x" of shape (1,) to "y". A test makes it anew with onnx.helper.
_IDENTITY = bytes.fromhex(
    "08083a3b0a100a017812017922084964656e746974791205636865636b5a0f0a0178120a0a08080112040a02"
    "0801620f0a0179120a0a08080112040a02080142040a00100d"
)


class OnnxBackend(GraphIsEngine):
    """The ONNX graph is the engine: precision and batch range are already in it. ONNX Runtime runs it, on the CPU."""

    provider = CPU
    name = CPU.backend

    def check(self) -> None:
        """Runs a graph of one node.

        Raises:
            MissingDependencyError: not installed, or without a working provider of this kind.
        """
        ort = _library(self.provider)
        try:
            _session(ort, _IDENTITY, self.provider).run(None, {"x": np.zeros(1, np.float32)})
        except (EngineError, *_failures()) as e:
            raise MissingDependencyError(
                f"onnxruntime {ort.__version__} does not work here ({e}): {self.provider.install}"
            ) from e

    def open(self, engine: Path) -> LiveEngine:
        """A session for the ONNX file `engine`, on this provider alone.

        Raises:
            MissingDependencyError: onnxruntime is not installed.
            ArtefactError: not an ONNX graph, or inputs and outputs that are not float32.
            EngineError: ONNX Runtime cannot run this graph.
        """
        return Session(engine, self.provider)


class OnnxCpuBackend(OnnxBackend):
    """The same, with a way of its own to open what an attack asks."""

    def open_for_attacks(self, engine: Path) -> LiveEngine:
        """As `open`, but each core computes some images of a batch by itself, and waits for nothing afterwards.

        ONNX Runtime's own threads share out each layer, and then wait for the next call by spinning: two engines that
        take turns, as one and its twin do, are in each other's way (docs/measured/attacks.md).
        """
        return Shared(Session(engine, self.provider, threads=1), usable_cores())


class Shared:
    """An engine whose batches are computed in parts, by as many threads at once, each asking it for its own part."""

    def __init__(self, session: "Session", threads: int) -> None:
        self._session, self._threads = session, threads
        self._pool = ThreadPoolExecutor(threads)
        self.backend, self.version, self.device = session.backend, session.version, session.device

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        n = len(inputs[0])
        count = min(n, self._threads)
        if count < 2:
            return self._session(*inputs)
        cuts = [(n * part // count, n * (part + 1) // count) for part in range(count)]
        parts = self._pool.map(lambda cut: self._session(*(each[slice(*cut)] for each in inputs)), cuts)
        return tuple(map(np.concatenate, zip(*parts, strict=True)))

    def __enter__(self) -> "Shared":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._pool.shutdown()
        self._session.__exit__(kind, error, trace)


class Session:
    """A loaded graph; `threads` compute a call, one a core if that is None."""

    def __init__(self, path: Path, provider: Provider, *, threads: int | None = None) -> None:
        ort = _library(provider)
        content = read_onnx(path)
        self.backend = provider.backend
        try:
            self._session = _session(ort, str(path), provider, half=CASTS_TO_HALF in content, threads=threads)
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
        self.device = cpu()
        if provider.on_gpu:
            with Gpu() as gpu:
                self.device = gpu.device

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        check_inputs(self._path, self._inputs, inputs)
        try:
            return tuple(self._session.run(None, dict(zip(self._inputs, inputs, strict=True))))
        except _failures() as e:
            raise EngineError(f"{self._path}: onnxruntime failed: {e}") from e

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        del self._session


def _library(provider: Provider) -> ModuleType:
    """onnxruntime; for a GPU with the libraries of CUDA and cuDNN loaded that pip has installed, if any, from 1.21 on.

    Source: https://onnxruntime.ai/docs/install/#cuda-and-cudnn
    """
    try:
        ort = importlib.import_module("onnxruntime")
    except (ImportError, OSError) as e:
        raise MissingDependencyError(f"onnxruntime cannot be imported ({e}): {provider.install}") from e
    if provider.on_gpu and hasattr(ort, "preload_dlls"):
        with redirect_stdout(StringIO()):  # it prints what it misses; whether the provider works is seen by its use
            ort.preload_dlls()
    return ort


def _session(
    ort: ModuleType, model: str | bytes, provider: Provider, *, half: bool = False, threads: int | None = None
) -> Any:
    """A session that holds as little memory as it can and runs on this provider only.

    Without the arena and the memory pattern a ResNet-18 for 32x32 images, called with 1 and 64 images, peaks at 203 MB
    instead of 260 MB and is no slower (onnxruntime 1.31.1, 2 cores: 5.8 and 306 ms against 5.6 and 304 ms).
    A provider that cannot be had is left out with no more than a warning, and what it does not know goes to the CPU:
    both are errors here. Source: https://github.com/microsoft/onnxruntime/pull/16016
    With `half` the blocked layout of convolutions is off, on which onnxruntime 1.32 dies where a transformer begins
    with one in float16; a CPU computes those in float32 anyway.
    """
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors; they are raised as well
    if threads is not None:
        options.intra_op_num_threads = threads
    if provider.on_gpu:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if provider.name not in ort.get_available_providers():
            raise EngineError(f"this onnxruntime has no {provider.name}")
    providers = [(provider.name, dict(provider.options))]
    # Without fallback: else what fails is repeated on another provider, with lines printed to stdout.
    session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0, **_without(half))
    session.disable_fallback()
    granted = session.get_providers()
    if granted[0] != provider.name or not (provider.on_gpu or len(granted) == 1):
        raise EngineError(f"onnxruntime runs on {granted}, not on {provider.name} alone")
    return session


def _without(half: bool) -> dict[str, list[str]]:
    return {"disabled_optimizers": ["NchwcTransformer"]} if half else {}


def _errors() -> ModuleType:
    return importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")


def _failures() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions; they have no common base."""
    e = _errors()
    return (e.EPFail, e.Fail, e.InvalidArgument, e.InvalidGraph, e.NotImplemented, e.RuntimeException)
