"""Fakes of the CUDA runtime and of the half of TensorRT that needs a GPU, strict where the real ones are silent.

Device memory is host memory under made-up addresses. Everything queued on a stream happens at the synchronisation and
not before, so whoever reads an output earlier, or lets go of an input, reads what was there before. A context executes
only when every address and every input shape is set, the shapes are within the profile and the buffers are large
enough. Signatures follow cuda-bindings 13.5 and tensorrt 10.13.
"""

# The names are those of CUDA and TensorRT.
# ruff: noqa: N801, N802, N815
import ctypes
from enum import Enum, IntEnum
from types import ModuleType, SimpleNamespace

import numpy as np


class FakeCuda(ModuleType):
    """`cuda.bindings.runtime` with one GPU."""

    class cudaError_t(IntEnum):
        cudaSuccess = 0
        cudaErrorMemoryAllocation = 2
        cudaErrorInsufficientDriver = 35
        cudaErrorIllegalAddress = 700

    class cudaMemcpyKind(IntEnum):
        cudaMemcpyHostToDevice = 1
        cudaMemcpyDeviceToHost = 2

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.fail: dict[str, int] = {}  # function name -> the error it gives
        self.memory: dict[int, bytearray] = {}
        self.streams: dict[int, list] = {}
        self.allocations = self.copies = 0
        self.driver = 13000
        self.events = 0
        self.times: dict[int, float | None] = {}
        self.worked = 0.0  # milliseconds that the device has computed

    def _answer(self, name, *values):
        return (self.cudaError_t(self.fail.get(name, 0)), *values)

    def cudaGetErrorString(self, error):
        return (self.cudaError_t.cudaSuccess, f"fake error {int(error)}".encode())

    def cudaDriverGetVersion(self):
        return self._answer("cudaDriverGetVersion", self.driver)

    def cudaRuntimeGetVersion(self):
        return self._answer("cudaRuntimeGetVersion", 13050)

    def cudaGetDevice(self):
        return self._answer("cudaGetDevice", 0)

    def cudaGetDeviceProperties(self, device):
        assert device == 0
        return self._answer(
            "cudaGetDeviceProperties", SimpleNamespace(name=b"Fake GPU", major=8, minor=7, multiProcessorCount=8)
        )

    def cudaStreamCreate(self):
        self.streams[77] = []
        return self._answer("cudaStreamCreate", 77)

    def cudaStreamDestroy(self, stream):
        del self.streams[stream]
        return self._answer("cudaStreamDestroy")

    def cudaMalloc(self, size):
        self.allocations += 1
        if "cudaMalloc" in self.fail and self.allocations > 1:  # the second one: something is held by then
            return self._answer("cudaMalloc", 0)
        address = 4096 * self.allocations
        self.memory[address] = bytearray(b"\xff" * size)  # NaN
        return (self.cudaError_t.cudaSuccess, address)

    def cudaFree(self, address):
        del self.memory[address]  # KeyError: freed twice, or never taken
        return self._answer("cudaFree")

    def cudaMemcpyAsync(self, target, source, count, kind, stream):
        def copy():
            if kind == self.cudaMemcpyKind.cudaMemcpyHostToDevice:
                assert count <= len(self.memory[target])
                self.memory[target][:count] = ctypes.string_at(source, count)
            else:
                assert count <= len(self.memory[source])
                ctypes.memmove(target, bytes(self.memory[source][:count]), count)

        self.copies += 1
        self.streams[stream].append(copy)
        return self._answer("cudaMemcpyAsync")

    def cudaEventCreate(self):
        self.events += 1
        self.times[self.events] = None
        return self._answer("cudaEventCreate", self.events)

    def cudaEventDestroy(self, event):
        del self.times[event]
        return self._answer("cudaEventDestroy")

    def cudaEventRecord(self, event, stream):
        self.streams[stream].append(lambda: self.times.update({event: self.worked}))
        return self._answer("cudaEventRecord")

    def cudaEventSynchronize(self, event):
        for stream in self.streams:
            self.cudaStreamSynchronize(stream)
        return self._answer("cudaEventSynchronize")

    def cudaEventElapsedTime(self, start, end):
        return self._answer("cudaEventElapsedTime", self.times[end] - self.times[start])

    def cudaStreamSynchronize(self, stream):
        queue, self.streams[stream] = self.streams[stream], []
        for work in queue:
            work()
        return self._answer("cudaStreamSynchronize")


HEADER = b"ftrt" + bytes(20) + bytes([10, 13, 3, 9])


class FakeTensorRT(ModuleType):
    """`tensorrt` 10.13.3.9 whose every engine computes `function`: arrays -> arrays, in the order of `ends`."""

    __version__ = "10.13.3.9"

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class IExecutionContext:
        execute_async_v3 = None

    class TensorIOMode(Enum):
        INPUT = 1
        OUTPUT = 2

    class DataType(Enum):
        FLOAT = 0
        HALF = 1

    def __init__(self, cuda, inputs, outputs, function, max_batch=4) -> None:
        super().__init__("tensorrt")
        self.cuda, self.inputs, self.outputs = cuda, inputs, outputs
        self.function, self.max_batch = function, max_batch
        self.dtype = self.DataType.FLOAT
        self.refuse = ""  # "runtime", "engine", "context" or "execution"
        self.unbatched: set[str] = set()  # outputs without a batch
        self.contexts: list[FakeContext] = []

    def Runtime(self, logger):
        if self.refuse == "runtime":
            logger.log(self.ILogger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: self._engine(plan, logger))

    def _engine(self, plan, logger):
        assert bytes(plan).startswith(HEADER)
        if self.refuse == "engine":
            logger.log(self.ILogger.ERROR, "engine plan file is not for this device")
            return None
        names = [*self.inputs, *self.outputs]
        return SimpleNamespace(
            num_io_tensors=len(names),
            get_tensor_name=lambda i: names[i],
            get_tensor_dtype=lambda name: self.dtype,
            get_tensor_mode=lambda name: self.TensorIOMode.INPUT if name in self.inputs else self.TensorIOMode.OUTPUT,
            get_tensor_profile_shape=lambda name, index: [(n, *self.inputs[name]) for n in (1, 1, self.max_batch)],
            create_execution_context=lambda: None if self.refuse == "context" else FakeContext(self, logger),
        )


class FakeContext:
    def __init__(self, trt, logger) -> None:
        self.trt, self.logger = trt, logger
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.batches: list[int] = []
        trt.contexts.append(self)

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape
        fits = isinstance(shape, tuple) and shape[1:] == self.trt.inputs[name] and 1 <= shape[0] <= self.trt.max_batch
        return fits or self._error(f"shape {shape} of {name} is outside the profile")

    def get_tensor_shape(self, name):
        (batch,) = {shape[0] for shape in self.shapes.values()} if self.shapes else {-1}
        shape = {**self.trt.inputs, **self.trt.outputs}[name]
        return shape if name in self.trt.unbatched else (batch, *shape)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return address in self.trt.cuda.memory

    def execute_async_v3(self, stream):
        if self.trt.refuse == "execution":
            return self._error("enqueue failed")
        if set(self.shapes) != set(self.trt.inputs) or set(self.addresses) != {*self.trt.inputs, *self.trt.outputs}:
            return self._error("a shape or an address is not set")
        (batch,) = {shape[0] for shape in self.shapes.values()}
        self.batches.append(batch)
        self.trt.cuda.streams[stream].append(lambda: self._compute(batch))
        return True

    def _compute(self, batch):
        self.trt.cuda.worked += 0.25 * batch
        memory = self.trt.cuda.memory
        arrays = []
        for name, shape in self.trt.inputs.items():
            count = int(np.prod(shape)) * batch
            arrays.append(np.frombuffer(memory[self.addresses[name]], np.float32, count).reshape(batch, *shape).copy())
        for name, array in zip(self.trt.outputs, self.trt.function(*arrays), strict=True):
            data = np.ascontiguousarray(array, np.float32).tobytes()
            assert len(data) <= len(memory[self.addresses[name]])
            memory[self.addresses[name]][: len(data)] = data

    def _error(self, message):
        self.logger.log(self.trt.ILogger.ERROR, message)
        return False
