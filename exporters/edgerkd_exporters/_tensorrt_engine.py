"""A loaded TensorRT or TensorRT-RTX engine, called with NumPy arrays.

Tested against fakes of both libraries (tests/exporters/fake_tensorrt.py), where no GPU is at hand.
"""

from contextlib import ExitStack
from math import prod
from pathlib import Path
from threading import Lock
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from edgerkd.bundle.backend import FloatArray, LiveEngine
from edgerkd.core.errors import EngineError, MissingDependencyError, problems_text
from edgerkd_exporters._checks import Shape, check_inputs
from edgerkd_exporters._cuda import Gpu
from edgerkd_exporters._tensorrt import Flavour, create, library, logger, read_plan, released


def check(flavour: Flavour) -> None:
    """Opens the GPU and creates the library's runtime on it.

    Raises:
        MissingDependencyError: one of them does not work here.
    """
    trt = library(flavour)
    with Gpu() as gpu:
        try:
            create(trt.Runtime, logger(trt))
        except EngineError as e:
            raise MissingDependencyError(
                f"{flavour.module} {trt.__version__} does not work on {gpu.device.name}: {e}; {flavour.install}"
            ) from e


def load(flavour: Flavour, path: Path) -> LiveEngine:
    """The engine in `path`, on the current GPU.

    Raises:
        MissingDependencyError: no library, or no GPU.
        ArtefactError: not an engine of this library in this version.
        EngineError: the library refuses the engine, or there is too little memory.
    """
    plan = read_plan(flavour, path)
    with released():
        return _open(flavour, path, plan)


def _open(flavour: Flavour, path: Path, plan: bytes) -> "_Engine":
    trt = library(flavour)
    with ExitStack() as stack:
        gpu = stack.enter_context(Gpu())
        messages = logger(trt)
        engine = create(trt.Runtime, messages).deserialize_cuda_engine(plan)
        context = None if engine is None else engine.create_execution_context()
        if context is None:
            what = f"{path}: {flavour.module} {trt.__version__} cannot load it; build it on this device"
            raise EngineError(problems_text(what, messages.reasons()))
        live = _Engine(flavour, trt, path, gpu, engine, context, messages)
        stack.pop_all()  # from here on the live engine holds the GPU
    return live


class _Engine:
    """Buffers for the largest batch are taken once, and larger ones than the engine was built for are split.

    Buffers, shapes, the stream and the logger serve one caller at a time: threads take turns.
    """

    def __init__(
        self, flavour: Flavour, trt: ModuleType, path: Path, gpu: Gpu, engine: Any, context: Any, messages: Any
    ) -> None:
        self.backend = flavour.backend
        self.version: str = trt.__version__
        self.device = gpu.device
        self._path, self._gpu, self._context, self._messages = path, gpu, context, messages
        self._lock = Lock()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        if odd := [name for name in names if engine.get_tensor_dtype(name) != trt.DataType.FLOAT]:
            raise EngineError(f"{path}: inputs and outputs must be float32, but {', '.join(odd)} are not")
        ins = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        largest = {name: tuple(engine.get_tensor_profile_shape(name, 0)[2]) for name in ins}
        self._max_batch: int = largest[ins[0]][0]
        for name, shape in largest.items():
            self._ask(context.set_input_shape(name, shape), f"shape {shape} of {name}")
        shapes = {name: tuple(context.get_tensor_shape(name)) for name in names}
        if odd := [name for name in names if shapes[name][:1] != (self._max_batch,)]:
            raise EngineError(f"{path}: the first size must be the batch, but for {', '.join(odd)} it is not")
        self._inputs: dict[str, Shape] = {name: (None, *shapes[name][1:]) for name in ins}
        self._outputs = {name: shapes[name][1:] for name in names if name not in ins}
        self._addresses: dict[str, int] = {}
        for name, shape in shapes.items():
            self._addresses[name] = gpu.allocate(prod(shape) * np.dtype(np.float32).itemsize)
            self._ask(context.set_tensor_address(name, self._addresses[name]), f"address of {name}")

    def __call__(self, *inputs: FloatArray) -> tuple[FloatArray, ...]:
        batch = check_inputs(self._path, self._inputs, inputs)
        outputs = tuple(np.empty((batch, *shape), np.float32) for shape in self._outputs.values())
        with self._lock:
            for start in range(0, batch, self._max_batch):
                part = slice(start, start + self._max_batch)
                self._run([np.ascontiguousarray(array[part]) for array in inputs], [array[part] for array in outputs])
        return outputs

    def device_ms(self, *inputs: FloatArray) -> float:
        """Milliseconds of one execution for a batch of at most the largest, its inputs on the device already."""
        batch = check_inputs(self._path, self._inputs, inputs)
        if batch > self._max_batch:
            raise EngineError(f"{self._path}: was built for {self._max_batch} images at once, got {batch}")
        arrays = [np.ascontiguousarray(array) for array in inputs]
        with self._lock:
            self._upload(arrays)
            self._gpu.wait()
            return self._gpu.milliseconds(self._execute)

    def _run(self, inputs: list[FloatArray], outputs: list[FloatArray]) -> None:
        """One batch of at most `_max_batch`; fills `outputs`."""
        self._upload(inputs)
        self._execute()
        for name, array in zip(self._outputs, outputs, strict=True):
            self._gpu.download(self._addresses[name], array)
        self._gpu.wait()

    def _upload(self, inputs: list[FloatArray]) -> None:
        for name, array in zip(self._inputs, inputs, strict=True):
            self._ask(self._context.set_input_shape(name, array.shape), f"shape {array.shape} of {name}")
            self._gpu.upload(array, self._addresses[name])

    def _execute(self) -> None:
        self._ask(self._context.execute_async_v3(self._gpu.stream), "execution")

    def _ask(self, granted: bool, what: str) -> None:
        if not granted:
            raise EngineError(problems_text(f"{self._path}: {what} refused", self._messages.reasons()))

    def __enter__(self) -> "_Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        del self._context  # before the stream and the buffers it points to; it keeps the engine alive
        self._gpu.__exit__(kind, error, trace)
