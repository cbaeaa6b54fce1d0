"""One GPU and one stream through the CUDA runtime: all that an engine needs of CUDA."""

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType, TracebackType
from typing import Any

from edgerkd.bundle.backend import FloatArray
from edgerkd.core.engine import DeviceRecord
from edgerkd.core.errors import EngineError, MissingDependencyError
from edgerkd.core.text import LONGEST_NAME, printable


class Gpu:
    """The current CUDA device with one stream. A context manager: leaving frees all that was taken.

    Opening really creates the stream, and with it the CUDA context.

    Attributes:
        device: such as Orin, compute capability 8.7.
        stream: the stream's handle.

    Raises:
        MissingDependencyError: no binding, no driver, no GPU, or one that does not work.
        EngineError: in every method, when CUDA refuses.
    """

    def __init__(self) -> None:
        self._cudart = _binding()
        self._held = ExitStack()
        try:
            properties = self._call("cudaGetDeviceProperties", self._call("cudaGetDevice"))
            stream = self._call("cudaStreamCreate")
        except EngineError as e:
            raise MissingDependencyError(f"no CUDA GPU can be used here: {e}; {self._how_to_fix()}") from e
        self._held.callback(self._call, "cudaStreamDestroy", stream)
        self.device = DeviceRecord(
            kind="gpu",
            name=printable(properties.name.decode(errors="replace"), LONGEST_NAME),
            capability=f"{properties.major}.{properties.minor}",
            multiprocessors=int(properties.multiProcessorCount),
        )
        self.stream = int(stream)

    def free_bytes(self) -> int:
        """What is free of the device's memory; a Jetson shares it with everything else."""
        free, _ = self._call("cudaMemGetInfo")
        return int(free)

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes on the device, freed on leaving."""
        address: int = self._call("cudaMalloc", size)
        self._held.callback(self._call, "cudaFree", address)
        return address

    def upload(self, array: FloatArray, address: int) -> None:
        """Queue a copy of the contiguous `array` to the device; it must live until `wait` returns."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)

    def download(self, address: int, array: FloatArray) -> None:
        """Queue a copy from the device that fills the contiguous `array`; read it after `wait`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)

    def milliseconds(self, queue: Callable[[], None]) -> float:
        """How long the device works on what `queue` queues, by two events around it.

        Source: https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__EVENT.html
        """
        started, ended = (self._call("cudaEventCreate") for _ in range(2))
        try:
            self._call("cudaEventRecord", started, self.stream)
            queue()
            self._call("cudaEventRecord", ended, self.stream)
            self._call("cudaEventSynchronize", ended)
            return float(self._call("cudaEventElapsedTime", started, ended))
        finally:
            for event in (started, ended):
                self._call("cudaEventDestroy", event)

    def wait(self) -> None:
        """Until everything queued is done; errors of queued work surface here."""
        self._call("cudaStreamSynchronize", self.stream)

    def __enter__(self) -> "Gpu":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._held.close()

    def _call(self, name: str, *arguments: object) -> Any:  # the binding has no types
        error, *values = getattr(self._cudart, name)(*arguments)
        if error != self._cudart.cudaError_t.cudaSuccess:
            _, text = self._cudart.cudaGetErrorString(error)
            raise EngineError(f"{name}: {text.decode()}")
        if len(values) > 1:
            return tuple(values)
        return values[0] if values else None

    def _how_to_fix(self) -> str:
        """What to do about a GPU that cannot be opened. Versions count as in CUDA: 12060 is 12.6."""
        driver: int = self._call("cudaDriverGetVersion") // 1000
        binding: int = self._call("cudaRuntimeGetVersion") // 1000
        if driver == 0:
            return "there is no NVIDIA driver; run this on the device, or install its driver"
        if driver < binding:
            return (
                f'the driver is for CUDA {driver}, the binding for {binding}: pip install "cuda-bindings=={driver}.*"'
            )
        return "`nvidia-smi` shows what the driver sees"


def free_bytes() -> int:
    """What is free of the current device's memory. Raises as `Gpu` does."""
    with Gpu() as gpu:
        return gpu.free_bytes()


def _binding() -> ModuleType:
    """cuda-bindings, or else the layout of cuda-python before 12.6.

    Source: https://nvidia.github.io/cuda-python/cuda-bindings/latest/release.html
    """
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError) as e:
        try:
            return importlib.import_module("cuda.cudart")
        except ImportError:
            fix = 'pip install "cuda-bindings>=12.6"'
            raise MissingDependencyError(f"the CUDA binding cannot be imported ({e}): {fix}") from e
