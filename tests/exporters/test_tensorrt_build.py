"""Building engines: with TensorRT-RTX for real, and the choices for TensorRT 8.5 to 11 against a fake builder."""

import hashlib
import json
import subprocess
import sys
import traceback
from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgerkd.core.engine import BuildLog, DeviceRecord, LayerCount
from edgerkd.core.errors import ArtefactError, ConfigError, EngineError, MissingDependencyError
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.files.onnx_frame import unsigned_quantisers
from edgerkd.graphs.precision.fp16 import halved
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd_exporters import _tensorrt_build
from edgerkd_exporters._tensorrt import TENSORRT, TENSORRT_RTX, logger
from edgerkd_exporters._tensorrt_build import Place, build_here
from edgerkd_exporters._tensorrt_process import build
from edgerkd_exporters.tensorrt import TensorRTBackend
from edgerkd_exporters.tensorrt_rtx import TensorRTRTXBackend
from tests.exporters.fake_builder import VERSIONS, FakeBuilder
from tests.exporters.small_graphs import classifier, half_inside, quantised, save, twin, unsupported
from tests.zoo import network


@pytest.fixture
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")


@pytest.fixture
def graph(tmp_path):
    return save(classifier(), tmp_path / "student.onnx")


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "student.plan"


@pytest.mark.parametrize("make", [classifier, twin, half_inside])
def test_rtx_builds_without_a_gpu(rtx, make, tmp_path, target):
    """A build that asks for a GPU, a flag the library refuses, a profile for one input only."""
    backend = TensorRTRTXBackend()
    backend.check_build()
    log = backend.build(save(make(), tmp_path / "graph.onnx"), target, max_batch=8)
    assert log.seconds is not None
    assert replace(log, layers=(), layers_from=None) == BuildLog(
        version=rtx.__version__, max_batch=8, tf32=False, typing="strong", seconds=log.seconds
    )
    assert [path.name for path in target.parent.iterdir()] == ["student.plan"]
    here = bytes(int(part) for part in rtx.__version__.split("."))
    plan = target.read_bytes()
    assert (plan[:4], plan[4:8], plan[24:28]) == (b"vtrt", bytes(4), here), "the header is not what read_plan relies on"


def test_rtx_builder_switches_tf32_off(rtx, graph, target, monkeypatch):
    """A log without the deed: TF32 is on by default and moves logits by 1e-3."""
    configs = []
    make = rtx.Builder.create_builder_config
    monkeypatch.setattr(rtx.Builder, "create_builder_config", lambda self: configs.append(make(self)) or configs[-1])
    build_here(TENSORRT_RTX, graph, target, 8)
    (config,) = configs
    assert not config.get_flag(rtx.BuilderFlag.TF32)
    assert config.num_optimization_profiles == 1


@pytest.mark.parametrize("content", [b"", b"hello, this is no graph\n" * 9, None])
def test_rtx_refuses_what_is_not_onnx(rtx, graph, target, content):
    """Trusting the parser: it takes text, and an empty file, for a network without layers."""
    graph.write_bytes(graph.read_bytes()[:-9] if content is None else content)
    with pytest.raises(ArtefactError, match=r"student\.onnx: not an ONNX graph"):
        TensorRTRTXBackend().build(graph, target, max_batch=8)
    assert not target.exists()


def test_rtx_refuses_damage_inside_the_graph(rtx, graph, target):
    """A damaged file reported as one the library cannot build."""
    data = graph.read_bytes()
    at = data.index(b"MatMul")
    graph.write_bytes(data[: at - 1] + b"\x7f" + data[at:])  # the length of the operator's name
    with pytest.raises(ArtefactError, match=r"student\.onnx: not an ONNX graph, or damaged"):
        TensorRTRTXBackend().build(graph, target, max_batch=8)


def test_rtx_failure_keeps_nothing_of_the_library(rtx, tmp_path, target):
    """A builder kept by the error: garbage later, whose destruction within a log message hangs the library for ever."""
    with pytest.raises(EngineError) as caught:
        build_here(TENSORRT_RTX, save(unsupported(), tmp_path / "odd.onnx"), target, 8)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert "_plan" in [frame.f_code.co_name for frame in frames]
    assert [kind for frame in frames for kind in frame.f_locals.values() if isinstance(kind, rtx.Builder)] == []


def test_rtx_has_one_logger(rtx):
    """A logger a build: the library sends part of the errors to the first, so that a later failure has no reason."""
    assert logger(rtx) is logger(rtx)


def test_reasons_are_those_of_this_build(monkeypatch, graph, target):
    """The errors of something earlier told again."""
    fake = FakeBuilder("11.4.0.106", fails=("build",))
    logger(fake).log(fake.ILogger.ERROR, "old news")
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            built(monkeypatch, graph, target, fake)
        assert str(caught.value).count("could not find any") == 1
        assert "old news" not in str(caught.value)


def test_rtx_names_every_node_it_cannot_parse(rtx, tmp_path, target, monkeypatch):
    """The first failing node only, or the library's log on the terminal instead of an error."""
    monkeypatch.setattr("edgerkd.files.onnx_frame.check_operators", lambda content, where: None)  # it names them itself
    odd = unsupported()
    odd.graph.node[1].op_type, odd.graph.node[2].op_type = "NoSuchOperator", "NorThisOne"
    with pytest.raises(EngineError) as caught:
        build_here(TENSORRT_RTX, save(odd, tmp_path / "odd.onnx"), target, 8)
    for part in ("odd.onnx", "2 problems", "node 1 'product' (NoSuchOperator)", "node 2 'relu' (NorThisOne)"):
        assert part in str(caught.value)
    assert not target.exists()


def test_rtx_refuses_a_fixed_batch(rtx, tmp_path, target):
    """An engine for one batch size only, found out on the device."""
    with pytest.raises(EngineError, match=r"'images' has shape \(4, 3, 4, 4\): only the first size .* dynamic"):
        TensorRTRTXBackend().build(save(classifier(batch=4), tmp_path / "fixed.onnx"), target, max_batch=8)


def test_rtx_reports_the_builders_reason(rtx, graph, target):
    """A builder's null pointer written as an engine, or an error without the reason that the log has."""
    with pytest.raises(EngineError, match=r"(?s)student\.onnx: tensorrt_rtx .* cannot build it: .*MIN<=OPT<=MAX"):
        build(TENSORRT_RTX, graph, target, 0)
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plan: b"ftrt" + plan[4:], r"begins with b'ftrt', not b'vtrt'"),
        (lambda plan: plan[:20], "not a tensorrt_rtx engine"),
        (lambda plan: plan[:24] + bytes([1, 2, 3, 4]) + plan[28:], r"built by tensorrt_rtx 1\.2\.3\.4, but 1\.\d"),
    ],
)
def test_rtx_open_reads_the_header_before_it_asks_for_a_gpu(rtx, graph, target, change, reason):
    """A foreign engine blamed on the GPU, or handed to the library."""
    build(TENSORRT_RTX, graph, target, 8)
    target.write_bytes(change(target.read_bytes()))
    with pytest.raises(ArtefactError, match=rf"student\.plan: .*{reason}.*`edgerkd build`"):
        TensorRTRTXBackend().open(target)


@pytest.mark.parametrize(("flavour", "extra"), [(TENSORRT, "trt"), (TENSORRT_RTX, "trt-rtx")])
def test_without_the_library_the_install_line_is_given(graph, target, monkeypatch, flavour, extra):
    """A bare ImportError."""
    monkeypatch.setitem(sys.modules, flavour.module, None)
    with pytest.raises(MissingDependencyError, match=rf'pip install "edgerkd\[{extra}\]"'):
        build(flavour, graph, target, 8)


def test_all_modules_import_with_numpy_alone():
    """An import of a backend's library at the top of a module."""
    absent = ["tensorrt", "tensorrt_rtx", "cuda", "onnxruntime", "onnx", "torch"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
    code += "import edgerkd_exporters.onnx, edgerkd_exporters.tensorrt, edgerkd_exporters.tensorrt_rtx"
    subprocess.run([sys.executable, "-c", code], check=True)


def built(monkeypatch, graph, target, fake, place=None):
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return build_here(TENSORRT, graph, target, 8, place)


@pytest.fixture
def place(tmp_path):
    device = DeviceRecord(kind="gpu", name="Fake GPU", capability="8.7", multiprocessors=8)
    return Place(device=device, free=8_000_000_000, cache=tmp_path / "cache" / "timing" / "fake.cache")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("types", "flags"),
    [
        (("FLOAT",), set()),
        (("FLOAT", "HALF"), {"FP16", "OBEY_PRECISION_CONSTRAINTS"}),
        (("INT8", "FLOAT"), {"INT8"}),
        (("INT8", "HALF"), {"FP16", "INT8"}),
    ],
)
def test_the_typed_graph_is_the_precision_in_each_generation(monkeypatch, graph, target, place, version, types, flags):
    """TF32 left on; flags where the network is strongly typed, or none where 8.6 needs them; a name a version lacks."""
    fake = FakeBuilder(version, types)
    log = built(monkeypatch, graph, target, fake, place)
    (attempt,) = fake.attempts
    strong = not version.startswith("8")
    assert attempt.network == (["STRONGLY_TYPED"] if strong else ["EXPLICIT_BATCH"])
    assert attempt.flags == (set() if strong else flags)
    assert attempt.profile == {"images": ((1, 3, 4, 4), (1, 3, 4, 4), (8, 3, 4, 4))}
    assert (log.max_batch, log.tf32, log.fallback) == (8, False, None)
    assert (log.typing, set(log.precisions)) == (("strong", set()) if strong else ("weak", {"FP32"} | flags))
    assert target.read_bytes() == b"plan"
    names = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8"}
    expected = {LayerCount(kind="CaskConvolution", precision=names[kind], count=1) for kind in types}
    assert (set(log.layers), log.layers_from) == (expected, "engine")
    assert (log.device, log.workspace_bytes, attempt.workspace) == (
        place.device,
        4_000_000_000,
        ("WORKSPACE", 4_000_000_000),
    )


def test_a_layer_without_a_quantiser_is_told_its_type(monkeypatch, graph, target):
    """A weakly typed builder that may take float32 for a layer because float32 was quicker that day."""
    fake = FakeBuilder("8.6.1", ("FLOAT", "HALF"))
    built(monkeypatch, graph, target, fake)
    (attempt,) = fake.attempts
    assert [layer.precision.name for layer in attempt.layers] == ["FLOAT", "HALF"]


def _says(*layers: tuple[str, str, str]) -> str:
    """An inspector's words: (names, type, format)."""
    return json.dumps(
        {"Layers": [{"Name": n, "LayerType": t, "Inputs": [{"Datatype": f}], "Outputs": []} for n, t, f in layers]}
    )


@pytest.mark.parametrize(
    ("types", "inspected", "refused"),
    [
        (
            ("HALF",),
            _says(("conv0 + relu", "gemm", "Row major linear FP32")),
            ["'conv0' is fp16 in the graph, and fp32"],
        ),
        (("HALF",), _says(("conv0", "gemm", "Half")), []),
        (("HALF",), _says(("conv00", "gemm", "FP32"), ("conv0", "gemm", "Half")), []),
        (("HALF", "HALF"), _says(("conv0", "gemm", "Float"), ("conv1", "gemm", "Float")), ["'conv0'", "'conv1'"]),
        (
            ("INT8",),
            _says(("conv0", "CaskConvolution", "Channel major FP16 format")),
            ["is int8 in the graph, and fp16"],
        ),
        (("INT8",), _says(("conv0", "Reformat", "FP32"), ("conv0", "CaskConvolution", "Int8 NC/32HW32")), []),
        (("BF16",), _says(("conv0", "gemm", "BFloat16")), []),
        (("FLOAT",), _says(("conv0", "gemm", "Half")), []),
        (("HALF",), _says(("{ForeignNode[a...b]}", "Myelin", "FP32")), []),
    ],
)
def test_an_engine_that_fell_back_is_refused_with_the_layers_names(
    monkeypatch, graph, target, place, types, inspected, refused
):
    """TensorRT 11's silent float32 shipped as fp16 (rf-detr#1453), and a good engine refused for another's name."""
    fake = FakeBuilder("11.4.0.106", types)
    fake.inspected = inspected
    if not refused:
        assert built(monkeypatch, graph, target, fake, place).layers_from == "engine"
        return
    with pytest.raises(EngineError, match="does not compute as the graph says") as caught:
        built(monkeypatch, graph, target, fake, place)
    for part in refused:
        assert part in str(caught.value)
    assert not target.exists()


def called(graph, name: str):
    """The graph with its product called as the fake's only layer is."""
    (product,) = (node for node in graph.graph.node if node.op_type == "MatMul")
    product.name = name
    return graph


@pytest.mark.parametrize(
    ("make", "parsed", "refused"),
    [
        (half_inside, "FLOAT", "layer 'conv0' is fp16 in the graph, and fp32 here"),
        (half_inside, "HALF", None),
        (classifier, "FLOAT", None),
        (classifier, "INT8", None),
        (quantised, "INT8", None),
    ],
)
def test_without_a_gpu_the_parsed_network_is_held_to_the_graph(monkeypatch, tmp_path, target, make, parsed, refused):
    """A parser's own types taken for what the graph says, so that they always agree: half read as float is built."""
    fake = FakeBuilder("11.4.0.106", (parsed,))
    fake.loads = False
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake)
    path = save(called(make(), "conv0"), tmp_path / "graph.onnx")
    if refused is None:
        assert build_here(TENSORRT_RTX, path, target, 8).layers_from == "network"
        return
    with pytest.raises(EngineError, match=refused):
        build_here(TENSORRT_RTX, path, target, 8)
    assert not target.exists()


@pytest.mark.parametrize(("inspected", "refused"), [("Half", False), ("FP32", True)])
def test_rtx_asks_the_engine_where_there_is_a_driver(monkeypatch, graph, target, inspected, refused):
    """An engine that is asked only where kernels are timed: TensorRT-RTX's own is never, and falls back unseen."""
    fake = FakeBuilder("11.4.0.106", ("HALF",))
    fake.inspected = _says(("conv0", "gemm", inspected))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake)
    if refused:
        with pytest.raises(EngineError, match="'conv0' is fp16 in the graph, and fp32 here"):
            build_here(TENSORRT_RTX, graph, target, 8)
        return
    log = build_here(TENSORRT_RTX, graph, target, 8)
    assert (log.layers_from, log.layers) == ("engine", (LayerCount(kind="gemm", precision="fp16", count=1),))


def test_a_runtime_that_cannot_be_made_leaves_the_networks_word(monkeypatch, graph, target):
    """A build that fails on a machine that can build, because it cannot run."""

    def none(log):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    fake = FakeBuilder("11.4.0.106", ("HALF",))
    monkeypatch.setattr(fake, "Runtime", none)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake)
    assert build_here(TENSORRT_RTX, graph, target, 8).layers_from == "network"


def test_a_graph_says_what_a_hinting_network_does_not(monkeypatch, tmp_path, target, place):
    """A weakly typed network's hint of float32 taken for what the graph says: an engine that fell back is let pass."""
    fake = FakeBuilder("8.6.1", ("FLOAT",))
    with pytest.raises(EngineError, match="'conv0' is fp16 in the graph, and fp32 here"):
        built(monkeypatch, save(called(half_inside(), "conv0"), tmp_path / "graph.onnx"), target, fake, place)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_rtx_calls_every_layer_as_the_graph_does(rtx, monkeypatch, tmp_path, target, precision, bare):
    """Names that do not match, so that nothing is compared; or types that differ for a graph that is built well."""
    graph, int8 = student_graphs("signed")
    model = onnx.load_from_string({"fp32": graph, "fp16": halved(graph), "int8": int8}[precision])
    for node in model.graph.node if bare else ():
        node.name = ""
    seen = []
    monkeypatch.setattr(_tensorrt_build, "fallen_back", lambda *both: seen.append(both) or [])
    build_here(TENSORRT_RTX, save(model, tmp_path / "graph.onnx"), target, 8)
    ((wanted, found),) = seen
    named = {layer.name: layer.precision for layer in wanted.layers}
    assert named == {layer.name: layer.precision for layer in found.layers}
    assert len(named) == len(layers(graph))
    assert precision in named.values()


@pytest.mark.parametrize("inspected", ["", "not JSON", '{"Layers": ["conv0"]}', "{}", "[]", '{"Layers": []}'])
def test_an_inspector_that_says_nothing_leaves_the_networks_word(monkeypatch, graph, target, place, inspected):
    """A build that fails, or layers made up, because an engine was not asked, or answers with names alone."""
    fake = FakeBuilder("10.3.0", ("HALF",))
    fake.inspected = inspected
    log = built(monkeypatch, graph, target, fake, place)
    assert log.layers_from == "network"
    assert log.layers == (LayerCount(kind="CONVOLUTION", precision="fp16", count=1),)
    fake.loads = False
    assert built(monkeypatch, graph, target, fake, place).layers_from == "network"


def test_measurements_are_kept_for_the_next_build(monkeypatch, graph, target, place):
    """A cache that is never read, a damaged one that stops a build, and one that has no place."""
    fake = FakeBuilder("10.3.0")
    log = built(monkeypatch, graph, target, fake, place)
    assert log.timing_cache == hashlib.sha256(place.cache.read_bytes()).hexdigest()
    built(monkeypatch, graph, target, fake, place)
    place.cache.write_bytes(b"rubbish")
    built(monkeypatch, graph, target, fake, place)
    assert [attempt.offered for attempt in fake.attempts] == [[b""], [b"times of this build"], [b"rubbish", b""]]
    place.cache.unlink()
    place.cache.mkdir()
    assert built(monkeypatch, graph, target, fake, place).timing_cache is None


@pytest.mark.parametrize(
    ("step", "reason"), [("parse", "node 3 'gemm' (Gemm): no half Gemm"), ("build", "could not find")]
)
def test_10_falls_back_to_weak_typing_and_says_so(monkeypatch, graph, target, step, reason):
    """No second attempt, a silent one, or one without the flags that it needs."""
    fake = FakeBuilder("10.3.0", ("HALF",), (step,))
    log = built(monkeypatch, graph, target, fake)
    assert [attempt.network for attempt in fake.attempts] == [["STRONGLY_TYPED"], ["EXPLICIT_BATCH"]]
    assert fake.attempts[1].flags == {"FP16", "OBEY_PRECISION_CONSTRAINTS"}
    assert reason in str(log.fallback)
    assert (log.typing, log.precisions) == ("weak", ("FP32", "FP16", "OBEY_PRECISION_CONSTRAINTS"))


def test_11_has_nothing_to_fall_back_to(monkeypatch, graph, target):
    """A weak attempt on 11, where it would be another strong one under a false name."""
    fake = FakeBuilder("11.4.0.106", fails=("build",))
    with pytest.raises(EngineError, match=r"student\.onnx: tensorrt 11\.4\.0\.106 cannot build it: could not find any"):
        built(monkeypatch, graph, target, fake)
    assert len(fake.attempts) == 1
    assert not target.exists()


def test_8_names_a_node_by_its_number_alone(monkeypatch, graph, target):
    """A loop, a log in place of the error, and a method that 8.6's errors do not have."""
    with pytest.raises(EngineError, match="node 3: no half Gemm"):
        built(monkeypatch, graph, target, FakeBuilder("8.6.1", fails=("always",)))


def test_a_long_reason_for_the_fallback_still_fits_its_record(monkeypatch, graph, target):
    """A record of a failed build that cannot be written or read, for its text is longer than any may be."""
    fake = FakeBuilder("10.3.0", ("HALF",), ("build",))
    fake.reason = "tactic\x1b[31m failed " * 10_000
    log = built(monkeypatch, graph, target, fake)
    assert log.fallback is not None
    assert "\x1b" not in log.fallback
    path = target.with_name("log.json")
    path.write_text(encode_json(log))
    again = decode_json(BuildLog, path)
    assert again.fallback is not None
    assert again.fallback[:2000] == log.fallback[:2000]


BROKEN = """
import os, sys
__version__ = "1.7.1.116"
class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)
    def __init__(self): pass
class IExecutionContext:
    execute_async_v3 = None
class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 0
class BuilderFlag:
    TF32 = 0
def Builder(log):
    {what}
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("os.kill(os.getpid(), 9)", "its process was killed, most likely for want of memory"),
        ("os.kill(os.getpid(), 11)", "its process ended with signal 11"),
        ("os._exit(3)", "its process ended with exit code 3"),
        ("raise ValueError('a bug of ours')", "exit code 1: .*a bug of ours"),
    ],
)
def test_a_builder_that_dies_is_an_error_of_exit_code_6(monkeypatch, tmp_path, graph, target, what, said):
    """An out-of-memory kill that takes edgerkd with it, and leaves exit code 137 and no word."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "tensorrt_rtx.py").write_text(BROKEN.format(what=what))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "tensorrt_rtx", raising=False)
    with pytest.raises(EngineError, match=rf"(?s)student\.onnx: tensorrt_rtx could not build it: .*{said}") as caught:
        build(TENSORRT_RTX, graph, target, 8)
    assert caught.value.exit_code == 6
    assert not target.exists()


@pytest.mark.parametrize(
    ("hours", "error", "said"),
    [
        ("0.0003", EngineError, "could not build it within 1.1 s and was stopped: set EDGERKD_BUILD_HOURS to more"),
        ("none", ConfigError, "EDGERKD_BUILD_HOURS is none: give a number of hours above 0"),
        ("nan", ConfigError, "EDGERKD_BUILD_HOURS is nan"),
        ("-1", ConfigError, "EDGERKD_BUILD_HOURS is -1"),
    ],
)
def test_a_builder_that_hangs_is_stopped(monkeypatch, tmp_path, graph, target, hours, error, said):
    """Catches a build without end, and a limit that is not a number, which stops every build or none."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "tensorrt_rtx.py").write_text(BROKEN.format(what="import signal; signal.pause()"))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "tensorrt_rtx", raising=False)
    monkeypatch.setenv("EDGERKD_BUILD_HOURS", hours)
    with pytest.raises(error, match=said):
        build(TENSORRT_RTX, graph, target, 8)
    assert not target.exists()


def test_rtx_builds_the_int8_graph_as_int8(rtx, tmp_path, target):
    """An int8 variant whose convolutions TensorRT-RTX reads as float32."""
    graph, quantised = student_graphs("signed")
    path = tmp_path / "int8.onnx"
    path.write_bytes(quantised)
    log = build(TENSORRT_RTX, path, target, 8)
    found = {(each.kind, each.precision): each.count for each in log.layers}
    every = layers(graph)
    assert found[("CONVOLUTION", "int8")] == len(every) - 1
    assert sum(count for (kind, _), count in found.items() if kind != "CONVOLUTION") == 1  # the classifier
    assert log.layers_from == "network"


def test_rtx_builds_the_fp16_graph_as_fp16(rtx, tmp_path, target):
    """A half graph that is float32 when it is built, and one whose normalization is not."""
    graph, _ = student_graphs("signed")
    path = tmp_path / "fp16.onnx"
    path.write_bytes(halved(graph))
    log = build(TENSORRT_RTX, path, target, 8)
    assert {each.precision for each in log.layers} == {"fp16"}


def constant_zero_points(content: bytes) -> bytes:
    """The graph with the zero points of its quantisers in Constant nodes, as some exporters write them."""
    model = onnx.load_from_string(content)
    zeros = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in zeros]
    moved = [tensor for tensor in model.graph.initializer if tensor.name in zeros]
    nodes = [onnx.helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in moved]
    nodes += list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model.SerializeToString()


@pytest.mark.parametrize("write", [bytes, constant_zero_points])
def test_unsigned_quantisers_are_refused(rtx, tmp_path, target, write):
    """uint8 taken for int8 in silence: another network, of which nobody was told."""
    _, quantised = student_graphs("unsigned")
    path = tmp_path / "uint8.onnx"
    path.write_bytes(write(quantised))
    with pytest.raises(EngineError, match="reads unsigned quantisers as signed ones") as caught:
        build(TENSORRT_RTX, path, target, 8)
    assert "images" in str(caught.value) or "quantized" in str(caught.value)
    assert unsigned_quantisers(write(student_graphs("signed")[1])) == []


def student_graphs(placement: str) -> tuple[bytes, bytes]:
    """A student's graph, and that in int8."""
    graph = onnx_from_network(network(seed=3, channels=3, height=32, width=32))
    images = np.random.default_rng(0).random((32, 3, 32, 32), np.float32)
    ranges = find_ranges(graph, [images])
    return graph, quantized(graph, ranges, placement=placement, keep=layers(graph)[-1:])


def test_trt_build_needs_a_gpu(monkeypatch, graph, target):
    """A build that crashes on a machine without a GPU instead of saying so: the real CUDA binding answers here."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("this machine has a GPU")
    monkeypatch.setitem(sys.modules, "tensorrt", FakeBuilder("10.3.0"))
    backend = TensorRTBackend()
    for action in (backend.check, backend.check_build, lambda: backend.build(graph, target, max_batch=8)):
        with pytest.raises(MissingDependencyError, match="no CUDA GPU can be used here: cudaGetDevice"):
            action()
