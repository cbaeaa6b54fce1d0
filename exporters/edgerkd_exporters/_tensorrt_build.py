"""An engine built by TensorRT or TensorRT-RTX, by one code path for all their versions (_tensorrt.py).

It runs in a process of its own (_tensorrt_process.py), for a builder that takes too much memory is killed.
"""

import hashlib
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgerkd.core.engine import BuildLog, DeviceRecord
from edgerkd.core.errors import ArtefactError, EngineError, StorageError, problems_text
from edgerkd.core.text import LONGEST_TEXT, printable
from edgerkd.files.atomic import write_atomic
from edgerkd.files.onnx_frame import read_onnx, unsigned_quantisers
from edgerkd_exporters._tensorrt import Flavour, create, library, logger, plan_version, released
from edgerkd_exporters._tensorrt_layers import Layers, engine_layers, expected_layers, fallen_back, network_layers

log = logging.getLogger(__name__)

WORKSPACE_SHARE = 0.5
"""Of the free memory, what the builder may use as scratch space for a layer. Ours: a Jetson's memory is everybody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The GPU that kernels are timed on, its free memory in bytes, and the file that keeps measurements."""

    device: DeviceRecord
    free: int
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One graph to build, on `place` where the library times its kernels."""

    trt: ModuleType
    graph: Path
    onnx: bytes
    max_batch: int
    place: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    plan: bytes
    precisions: tuple[str, ...]
    layers: Layers
    from_engine: bool
    timing_cache: bytes | None


def build_here(flavour: Flavour, graph: Path, target: Path, max_batch: int, place: Place | None = None) -> BuildLog:
    """Build the ONNX file `graph` into the engine `target`, for batches 1 to `max_batch`, tuned for 1.

    The precision of every layer is the one in the graph. Where the library offers strong typing it is used; where
    that fails and the library can still do without (10.x), so does this, and then each layer is told its type.
    The finished engine is asked what it computes in, where there is a GPU to ask it on, else a strongly typed network;
    what is not in the graph's precision is refused. TF32 is off, so fp32 is fp32.
    Source: NVIDIA's migration guide to TensorRT 11,
    https://docs.nvidia.com/deeplearning/tensorrt/11.4.0/api/migration/tensorrt-10x-to-11x-python-api-reference.html

    Raises:
        MissingDependencyError: the library is not installed.
        ArtefactError: `graph` is not an ONNX graph.
        EngineError: it cannot be parsed (every failing node is named) or built, it has unsigned quantisers, or layers
            of the engine or the network are not in the graph's precision.
    """
    onnx = read_onnx(graph)
    trt = library(flavour)
    if unsigned := unsigned_quantisers(onnx):
        what = f"{graph}: {flavour.module} reads unsigned quantisers as signed ones: export signed int8 for it"
        raise EngineError(problems_text(what, unsigned))
    job = _Job(trt=trt, graph=graph, onnx=onnx, max_batch=max_batch, place=place)
    started = time.perf_counter()
    strong, fallback = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"), None
    try:
        with released():
            built = _plan(job, strong)
    except EngineError as e:
        if not (strong and hasattr(trt.BuilderFlag, "FP16")):
            raise
        strong, fallback = False, printable(" ".join(str(e).split()), LONGEST_TEXT)
        with released():
            built = _plan(job, strong)
    write_atomic(target, built.plan)
    return BuildLog(
        version=plan_version(built.plan) or trt.__version__,
        device=place and place.device,
        max_batch=max_batch,
        tf32=False,
        typing="strong" if strong else "weak",
        precisions=built.precisions,
        fallback=fallback,
        layers=built.layers.counts(),
        layers_from="engine" if built.from_engine else "network",
        workspace_bytes=None if place is None else _workspace(place),
        timing_cache=None if place is None else _keep(built.timing_cache, place.cache),
        seconds=time.perf_counter() - started,
    )


def _plan(job: _Job, strong: bool) -> _Built:
    """One attempt: the serialised engine, and the precisions that the builder may choose from, where it may."""
    trt, messages = job.trt, logger(job.trt)
    builder = create(trt.Builder, messages)
    expected = "STRONGLY_TYPED" if strong else "EXPLICIT_BATCH"
    flag = getattr(trt.NetworkDefinitionCreationFlag, expected, None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, messages)  # owns the weights: it must live until the engine is built
    if not parser.parse(job.onnx):
        raise _unparsed(job, parser)
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, network, job))
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else an engine says nothing of its layers' types
    names = () if strong else _tell_types(trt, network, config)
    if job.place is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _workspace(job.place))
        _take_up(config, job.place.cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        what = f"{job.graph}: {trt.__name__} {trt.__version__} cannot build it"
        raise EngineError(problems_text(what, messages.reasons()))
    content, parsed = bytes(plan), network_layers(trt, network)
    found = engine_layers(trt, content, messages)
    # With a second input it is a gradient twin, which is judged by its agreement with the engine.
    if network.num_inputs == 1 and (found is not None or strong):  # a weakly typed network only hints at types
        problems = fallen_back(expected_layers(job.onnx, parsed, where=job.graph), found or parsed)
        if problems:
            what = f"{job.graph}: {trt.__name__} {trt.__version__} does not compute as the graph says"
            raise EngineError(problems_text(what, problems))
    return _Built(
        plan=content,
        precisions=() if strong else ("FP32", *names),
        layers=found or parsed,
        from_engine=found is not None,
        timing_cache=None if job.place is None else _measured(config),
    )


def _unparsed(job: _Job, parser: Any) -> ArtefactError | EngineError:
    """Why the parser did not take the graph, node by node."""
    trt = job.trt
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    if any(e.code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED for e in errors):
        return ArtefactError(f"{job.graph}: not an ONNX graph, or damaged; export it again")
    what = f"{job.graph}: {trt.__name__} {trt.__version__} cannot parse it"
    return EngineError(problems_text(what, [_parse_error(e) for e in errors]))


def _profile(builder: Any, network: Any, job: _Job) -> Any:
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
            profile.set_shape(tensor.name, (1, *rest), (1, *rest), (job.max_batch, *rest))
    if problems:
        raise EngineError(problems_text(job.graph, problems))
    return profile


def _tell_types(trt: ModuleType, network: Any, config: Any) -> tuple[str, ...]:
    """Hold the builder of a weakly typed network to the types that are in it; the names of the flags this needs.

    Without FP16 it refuses a half tensor (https://github.com/NVIDIA/TensorRT/issues/3277), without INT8 a quantised
    one (https://github.com/NVIDIA/TensorRT/issues/4021). With them it may choose float32 as well, where a layer does
    not say its type. Quantisers say what is int8; the layers between them have an output in float32, and are not told.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    types = {layer.get_output(i).dtype for layer in layers for i in range(layer.num_outputs)}
    quantised = any(layer.type == trt.LayerType.QUANTIZE for layer in layers)
    names = ["FP16"] if trt.DataType.HALF in types else []
    if trt.DataType.INT8 in types or quantised:
        names.append("INT8")
    elif names:
        names.append("OBEY_PRECISION_CONSTRAINTS")
        for layer in layers:
            dtype = layer.get_output(0).dtype if layer.num_outputs else None
            if dtype in (trt.DataType.HALF, trt.DataType.FLOAT):
                layer.precision = dtype
                layer.set_output_type(0, dtype)
    for name in names:
        config.set_flag(getattr(trt.BuilderFlag, name))
    return tuple(names)


def _workspace(place: Place) -> int:
    return max(1, int(WORKSPACE_SHARE * place.free))


def _take_up(config: Any, path: Path) -> None:
    """Begin with the measurements of earlier builds; with none where the file is damaged or another library's."""
    content = b""
    with suppress(OSError):
        content = path.read_bytes()
    for attempt in (content, b""):
        cache = config.create_timing_cache(attempt)
        if cache is not None and config.set_timing_cache(cache, False):
            return


def _measured(config: Any) -> bytes | None:
    cache = config.get_timing_cache()
    return None if cache is None else bytes(cache.serialize())


def _keep(content: bytes | None, path: Path) -> str | None:
    """Leave the measurements for the next build; their digest, None where there are none or they have no place."""
    if content is None:
        return None
    try:
        write_atomic(path, content)
    except StorageError as e:
        log.warning("the measurements of this build are not kept: %s", e)
        return None
    return hashlib.sha256(content).hexdigest()


def _parse_error(error: Any) -> str:
    """Such as "node 1 'relu' (NoSuchOp): Plugin not found"; TensorRT 8.5 knows the number only."""
    node = f" {error.node_name()!r} ({error.node_operator()})" if hasattr(error, "node_operator") else ""
    return f"node {error.node()}{node}: {error.desc()}"
