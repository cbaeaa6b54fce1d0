"""The verdict, by rule and on a real engine."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edgerkd.bundle.read import read_bundle
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.errors import EngineError, MissingDependencyError, UnknownNameError
from edgerkd.core.evaluation import Row
from edgerkd.core.progress import Silent
from edgerkd.core.verification import Limit, VerifyReport
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.verify.build import build_engine, choose_runtime
from edgerkd.verify.classifier import EngineClassifier
from edgerkd.verify.decide import decide, judge, retention_interval
from edgerkd.verify.parity import parity_of
from edgerkd.verify.run import verify
from tests.bundles import write_small_bundle
from tests.zoo import network

DIRECT = Row(attack="PGD", source="direct", robust_acc=accuracy_from_correct([True]))
REPLAY = Row(attack="replay", source="replay", robust_acc=accuracy_from_correct([True]))


def gate(low: float, high: float, required: float = 0.5):
    return judge("robust_acc", required=required, measured=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.5, 0.6, "pass"), (0.4, 0.49, "fail"), (0.4, 0.5, "inconclusive"), (0.4, 0.6, "inconclusive")],
)
def test_a_gate_asks_the_whole_interval(low, high, verdict):
    """Catches a gate judged by the point alone."""
    assert gate(low, high).verdict == verdict


@pytest.mark.parametrize(
    ("gates", "budget_ok", "rows", "agreement", "flags", "verdict"),
    [
        ([gate(0.6, 0.7)], True, [DIRECT], 1.0, (), "pass"),
        ([gate(0.6, 0.7)], None, [DIRECT], 1.0, (), "pass"),
        ([gate(0.6, 0.7)], False, [DIRECT], 1.0, (), "fail"),
        ([gate(0.6, 0.7)], True, [REPLAY], 1.0, (), "inconclusive"),
        ([gate(0.6, 0.7)], True, [DIRECT], 0.99, (), "inconclusive"),
        ([gate(0.4, 0.6)], True, [DIRECT], 1.0, (), "inconclusive"),
        ([gate(0.6, 0.7)], True, [DIRECT], 1.0, ("zero gradients",), "inconclusive"),
        ([gate(0.1, 0.2)], True, [DIRECT], 1.0, ("zero gradients",), "fail"),
        ([gate(0.4, 0.6), gate(0.1, 0.2)], True, [REPLAY], 0.9, (), "fail"),
    ],
)
def test_the_verdict(gates, budget_ok, rows, agreement, flags, verdict):
    """Catches a pass from stored examples alone, a fail hidden by an open question, and a budget ignored."""
    budget = [Limit(limit="params", required=10, measured=20 if budget_ok is False else 5, ok=budget_ok)]
    found, reasons = decide(gates=gates, budget=budget, rows=rows, twin_agreement=agreement, flags=flags)
    assert found == verdict
    assert bool(reasons) == (verdict != "pass")


def test_retention_resamples_pairs():
    """Catches an interval that ignores that both saw the same images, and one without doubt where few were kept."""
    host = np.arange(100) < 60
    value, low, high = retention_interval(host, host, generator=np.random.default_rng(0))
    assert (value, high) == (1.0, 1.0)
    assert 0.93 < low < 0.95
    three = np.ones(3, bool)
    assert retention_interval(three, three, generator=np.random.default_rng(0))[1] < 0.5
    engine = np.arange(100) < 54
    value, low, high = retention_interval(engine, host, generator=np.random.default_rng(0))
    assert value == pytest.approx(0.9)
    assert 0.79 < low < 0.9 < high < 1.0
    nothing = np.zeros(100, bool)
    assert retention_interval(nothing, nothing, generator=np.random.default_rng(0)) == (0.0, 0.0, 1.0)


def test_an_infinite_host_logit_is_no_parity():
    """Catches inf <= inf, by which any engine would be the student."""
    host = np.asarray([[np.inf, 0.0]], np.float32)
    assert not parity_of(np.asarray([[1.0, 5.0]], np.float32), host, precision="fp32").ok


def test_a_weak_attack_alone_never_passes(tmp_path):
    """Catches a pass on one step of FGSM."""
    folder = tmp_path / "bundle"
    write_small_bundle(folder)
    found = run(folder, tmp_path, attack="fgsm")
    assert any("fgsm alone over-reports" in flag for flag in found.flags)
    assert found.verdict != "pass"


def test_an_engine_that_no_longer_loads_is_built_anew(bundle, tmp_path):
    """Catches an engine of another runtime version that is kept for ever: its digest is still right."""
    from edgerkd.files.atomic import sha256_of

    built = build_engine(read_bundle(bundle), "onnx", tmp_path / "engines")
    built.student.write_bytes(b"of another version")
    record = json.loads((built.student.parent / "engine.json").read_text())
    record["student_sha256"] = sha256_of(built.student)
    (built.student.parent / "engine.json").write_text(json.dumps(record))
    assert run(bundle, tmp_path).parity.ok


@pytest.mark.parametrize(
    ("profile", "runtime", "device", "same"),
    [
        ("jetson-orin", "tensorrt", "Orin (compute capability 8.7)", True),
        ("jetson-orin", "tensorrt", "NVIDIA H200 (compute capability 9.0)", False),
        ("jetson-orin", "onnxruntime", "Orin (compute capability 8.7)", False),
        ("x86-cpu", "onnxruntime", "x86_64 CPU (AMD EPYC)", True),
        ("raspberry-pi-5", "onnxruntime", "x86_64 CPU (AMD EPYC)", False),
    ],
)
def test_latency_is_judged_on_the_profiles_own_device_only(profile, runtime, device, same):
    """Catches a limit of a Jetson that is met on a server."""
    from edgerkd.core.verification import Engine
    from edgerkd.files.profiles import load_profile
    from edgerkd.verify.run import on_target

    engine = Engine(runtime=runtime, version="1", device=device, precision="fp32", sha256="0")
    assert on_target(load_profile(profile), engine) == same


def test_parity_counts_only_clear_answers_and_absolute_differences():
    """Catches a relative error, which explodes where logits pass zero, and a flip at a tie taken for a fault."""
    host = np.asarray([[5.0, 0.0, 1e-9], [1.0, 1.0 + 1e-6, 0.0]], np.float32)
    near = host + np.asarray([[0, 0, 1e-5], [2e-6, 0, 0]], np.float32)
    assert parity_of(near, host, precision="fp32").ok
    far = host + np.asarray([[0, 0, 1e-2], [0, 0, 0]], np.float32)
    assert not parity_of(far, host, precision="fp32").ok


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "bundle"
    write_small_bundle(folder)
    return folder


def run(bundle: Path, tmp_path: Path, **changes) -> VerifyReport:
    given = {
        "engines": tmp_path / "engines",
        "runtime_name": None,
        "attack": "pgd",
        "seed": 0,
    }
    return verify(bundle, **{**given, **changes}, progress=Silent())


def test_the_engine_is_attacked_and_every_class_is_reported(bundle, tmp_path):
    """Catches rows that are not measured on the engine: they must agree with the host's on the same images."""
    report = run(bundle, tmp_path)
    (tmp_path / "verify.json").write_text(encode_json(report))
    assert decode_json(VerifyReport, tmp_path / "verify.json") == report
    assert [each.name for each in report.by_class.classes] == ["bar 0", "bar 1", "bar 2"]
    assert sum(each.clean_acc.n for each in report.by_class.classes) == report.clean_acc.n
    assert [row.source for row in report.rows] == ["replay", "direct", "direct"]
    host = read_bundle(bundle).manifest.host
    assert report.clean_acc == host.clean_acc
    assert abs(report.robust_acc.value - host.robust_acc.value) <= 1 / report.robust_acc.n
    assert report.robust_acc.value <= min(row.robust_acc.value for row in report.rows)
    assert report.parity.ok
    assert report.twin_agreement == 1.0
    assert report.latency_ms.p99 >= report.latency_ms.p95 >= report.latency_ms.p50 > 0


def test_another_seed_draws_other_starts(bundle, tmp_path):
    """Catches a seed that goes nowhere: the report must say which one it used."""
    assert run(bundle, tmp_path, seed=5).seed == 5


def test_an_engine_that_is_not_the_student_fails_parity_with_its_report(tmp_path):
    """Catches a verdict about another network than the one the host measured."""
    folder = tmp_path / "bundle"
    write_small_bundle(folder)
    found = read_bundle(folder)
    built = build_engine(found, "onnx", tmp_path / "engines")
    other = tmp_path / "other"
    _bundle_of_another_network(other)
    record = json.loads((built.student.parent / "engine.json").read_text())
    built.student.write_bytes((other / "student.onnx").read_bytes())
    record["student_sha256"] = sha256_of(built.student)
    (built.student.parent / "engine.json").write_text(json.dumps(record))
    report = run(folder, tmp_path)
    assert report.verdict == "fail"
    assert "logits differ" in report.reasons[0]
    assert not report.parity.ok


def _bundle_of_another_network(folder: Path) -> None:
    folder.mkdir()
    (folder / "student.onnx").write_bytes(onnx_from_network(network(seed=9, classes=3)))


def test_a_changed_engine_is_built_again(bundle, tmp_path):
    """Catches an engine file trusted for its name."""
    found = read_bundle(bundle)
    built = build_engine(found, "onnx", tmp_path)
    built.student.write_bytes(b"something else")
    again = build_engine(found, "onnx", tmp_path)
    assert again.student.read_bytes() == found.student.read_bytes()


def test_runtimes_are_tried_in_order_and_the_choice_is_explained():
    """Catches a silent step down to another runtime."""
    runtime, why_not = choose_runtime(None, ("tensorrt", "onnxruntime"))
    if runtime.name == "onnxruntime":
        assert why_not[0].startswith("tensorrt is not used: ")


def test_a_runtime_asked_for_is_never_replaced():
    """Catches a fallback where the user named the runtime."""
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        choose_runtime("onnxruntim", ())


def test_a_runtime_that_does_not_work_says_how_to_fix_it(monkeypatch):
    """Catches a name that is listed and cannot be used, and another runtime used in its place."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .edgerkd\[trt\]"):
        choose_runtime("tensorrt", ("onnxruntime",))


def test_nan_logits_are_an_error_and_not_a_robust_answer():
    """Catches NaN, whose argmax is class 0: on images of class 0 such an engine looks perfect."""

    class Broken:
        runtime, version, device = "broken", "0", "none"

        def __call__(self, *inputs):
            return (np.full((len(inputs[0]), 3), np.nan, np.float32),)

    with pytest.raises(EngineError, match="NaN or infinite logits for 2 of 2"):
        EngineClassifier(Broken(), Broken()).logits(np.zeros((2, 1, 4, 4), np.float32))
