"""What TensorRT and TensorRT-RTX share: finding the library, building an engine, telling whose engine a file is.

One code path for TensorRT 8.5 to 11 and TensorRT-RTX. It asks the module what it has, never which version it is.
"""

import importlib
import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import ArtefactError, EdgerkdError, EngineError, MissingDependencyError, problems_text
from edgerkd.core.text import LONGEST_TEXT, printable
from edgerkd.files.atomic import write_atomic
from edgerkd.files.paths import read_file
from edgerkd_exporters._checks import read_onnx

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One of the two packages: the same interface under another name."""

    backend: str
    module: str
    install: str
    tag: bytes  # how its plans begin


def library(flavour: Flavour) -> ModuleType:
    """The package itself. Raises MissingDependencyError if it cannot be imported or is older than 8.5."""
    try:
        trt = importlib.import_module(flavour.module)
    except (ImportError, OSError) as e:
        raise MissingDependencyError(f"{flavour.module} cannot be imported ({e}): {flavour.install}") from e
    if not hasattr(trt.IExecutionContext, "execute_async_v3"):
        raise MissingDependencyError(f"{flavour.module} {trt.__version__} is older than 8.5: {flavour.install}")
    return trt


@cache
def logger(trt: ModuleType) -> Any:  # a class made of a module imported late
    """The one ILogger of the process: the library sends what concerns no builder or engine to the first it was given.

    It keeps the messages of errors and passes all but chatter on to `logging`.
    """

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: object, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            if severity not in (trt.ILogger.INFO, trt.ILogger.VERBOSE):
                log.debug("%s: %s", trt.__name__, message)

        def reasons(self) -> list[str]:
            """The errors since the last call."""
            reasons, self.errors = self.errors or ["no reason given"], []
            return reasons

    return Log()


def create(kind: Any, messages: Any) -> Any:
    """A `Builder` or a `Runtime`. Raises EngineError if the library gives none."""
    messages.errors.clear()
    try:
        return kind(messages)
    except TypeError as e:  # how pybind11 tells of a null pointer
        raise EngineError(problems_text(f"{kind.__name__} cannot be created", messages.reasons())) from e


@contextmanager
def released() -> Iterator[None]:
    """What the library gave to a frame that failed is freed at once, not when the error is forgotten.

    It is much memory for a small device. And an error may become cyclic garbage: collected while the library, in a
    lock of its own, calls the logger, the destructor of an old builder waits for that lock for ever (seen with
    TensorRT-RTX 1.7.1.116).
    """
    try:
        yield
    except EdgerkdError as e:
        traceback.clear_frames(e.__traceback__)
        raise


def build(flavour: Flavour, graph: Path, target: Path, max_batch: int) -> BuildLog:
    """Build the ONNX file `graph` into the engine `target`, for batches 1 to `max_batch`, tuned for 1.

    The precision of every layer is the one in the graph. Where the library offers strong typing it is used; where
    that fails and the library can still do without (10.x), so does this. TF32 is off, so fp32 is fp32.
    Source: NVIDIA's migration guide to TensorRT 11,
    https://docs.nvidia.com/deeplearning/tensorrt/11.4.0/api/migration/tensorrt-10x-to-11x-python-api-reference.html

    Raises:
        MissingDependencyError: the library is not installed.
        ArtefactError: `graph` is not an ONNX graph.
        EngineError: it cannot be parsed (every failing node is named) or built.
    """
    onnx = read_onnx(graph)
    trt = library(flavour)
    started = time.perf_counter()
    strong, fallback = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"), None
    try:
        with released():
            plan, precisions = _plan(trt, graph, onnx, max_batch, strong)
    except EngineError as e:
        if not (strong and hasattr(trt.BuilderFlag, "FP16")):
            raise
        strong, fallback = False, printable(" ".join(str(e).split()), LONGEST_TEXT)
        with released():
            plan, precisions = _plan(trt, graph, onnx, max_batch, strong)
    write_atomic(target, plan)
    return BuildLog(
        max_batch=max_batch,
        tf32=False,
        typing="strong" if strong else "weak",
        precisions=precisions,
        fallback=fallback,
        seconds=time.perf_counter() - started,
    )


def _plan(trt: ModuleType, graph: Path, onnx: bytes, max_batch: int, strong: bool) -> tuple[bytes, tuple[str, ...]]:
    """One attempt: the serialised engine, and the precisions that the builder may choose from, where it may."""
    messages = logger(trt)
    builder = create(trt.Builder, messages)
    expected = "STRONGLY_TYPED" if strong else "EXPLICIT_BATCH"
    flag = getattr(trt.NetworkDefinitionCreationFlag, expected, None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, messages)  # owns the weights: it must live until the engine is built
    if not parser.parse(onnx):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        if any(e.code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED for e in errors):
            raise ArtefactError(f"{graph}: not an ONNX graph, or damaged; export it again")
        what = f"{graph}: {trt.__name__} {trt.__version__} cannot parse it"
        raise EngineError(problems_text(what, [_parse_error(e) for e in errors]))
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, network, graph, max_batch))
    config.clear_flag(trt.BuilderFlag.TF32)
    names = () if strong else _precisions(trt, network)
    for name in names:
        config.set_flag(getattr(trt.BuilderFlag, name))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        what = f"{graph}: {trt.__name__} {trt.__version__} cannot build it"
        raise EngineError(problems_text(what, messages.reasons()))
    return bytes(plan), () if strong else ("FP32", *names)


def _profile(builder: Any, network: Any, graph: Path, max_batch: int) -> Any:
    """One optimisation profile for all inputs, (batch, ...) with nothing dynamic but the batch.

    It is tuned for batch 1, what a device serves; larger batches only make an evaluation shorter.
    """
    profile = builder.create_optimization_profile()
    problems: list[str] = []
    for tensor in (network.get_input(i) for i in range(network.num_inputs)):
        batch, *rest = tensor.shape
        if batch != -1 or -1 in rest:
            shape = tuple(tensor.shape)
            problems.append(
                f"input {tensor.name!r} has shape {shape}: only the first size may and must be dynamic (-1)"
            )
        else:
            profile.set_shape(tensor.name, (1, *rest), (1, *rest), (max_batch, *rest))
    if problems:
        raise EngineError(problems_text(graph, problems))
    return profile


def _precisions(trt: ModuleType, network: Any) -> list[str]:
    """The builder flags that a weakly typed network needs for the types that are in it.

    Without FP16 the builder refuses a half tensor (https://github.com/NVIDIA/TensorRT/issues/3277), without INT8 a
    quantised one (https://github.com/NVIDIA/TensorRT/issues/4021).
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    types = {layer.get_output(i).dtype for layer in layers for i in range(layer.num_outputs)}
    flags = ["FP16"] if trt.DataType.HALF in types else []
    if trt.DataType.INT8 in types or any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        flags.append("INT8")
    return flags


def _parse_error(error: Any) -> str:
    """Such as "node 1 'relu' (NoSuchOp): Plugin not found"; TensorRT 8.5 knows the number only."""
    node = f" {error.node_name()!r} ({error.node_operator()})" if hasattr(error, "node_operator") else ""
    return f"node {error.node()}{node}: {error.desc()}"


def read_plan(flavour: Flavour, path: Path) -> bytes:
    """The bytes of an engine that this library, in this version, wrote.

    The first 28 bytes tell: a tag of 4, a serialisation word, and where that is 0 the version, a byte a part, at 24.
    Source: `printPlanVersion`, https://github.com/NVIDIA/TensorRT/blob/main/samples/common/sampleEngines.cpp; for
    TensorRT-RTX, with another tag, seen in what version 1.7.1.116 writes.

    Raises:
        MissingDependencyError: the library is not installed.
        ArtefactError: no such file, another library's engine, or another version's.
    """
    trt = library(flavour)
    plan = read_file(path, error=ArtefactError)
    fix = "build it on this device with `edgerkd build`"
    if len(plan) < 28 or not plan.startswith(flavour.tag):
        raise ArtefactError(
            f"{path}: not a {flavour.module} engine: begins with {plan[:4]!r}, not {flavour.tag!r}; {fix}"
        )
    # Jetson's binding calls itself "10.3.0", a wheel's "10.3.0.26": compare as many parts as it has.
    here = [int(part) & 0xFF for part in trt.__version__.split(".")[:4] if part.isdigit()]
    built = list(plan[24 : 24 + len(here)])
    if plan[4:8] == bytes(4) and built != here:
        theirs = ".".join(map(str, plan[24:28]))
        raise ArtefactError(f"{path}: built by {flavour.module} {theirs}, but {trt.__version__} is here; {fix}")
    return plan
