"""Limits of memory and of a GPU's time: what each is held against, and where nobody can tell."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgerkd.bundle.read import read_bundle
from edgerkd.core.conditions import DeviceLatency
from edgerkd.core.engine_memory import EngineMemory
from edgerkd.core.errors import EngineError
from edgerkd.core.profile import Budget
from edgerkd.core.progress import Silent
from edgerkd.core.requirement import Requirement
from edgerkd.core.verification import Target
from edgerkd.report.table import verification_text
from edgerkd.report.words import reasons
from edgerkd.verify import build, isolated
from edgerkd.verify.classifier import answers_to
from edgerkd.verify.isolated import EngineProcess, IsolatedEngine
from edgerkd.verify.limits import peak_measured
from edgerkd.verify.recheck import problems_of
from edgerkd.verify.run import verify
from tests import odd_backend
from tests.believed import pgd_believed
from tests.graph_bundles import bars, honest, write_graph_bundle

HERE = Target(profile="board", title="Board", backend="onnx", reached=True)
MEMORY = EngineMemory(batch=1, counted=100, gpu=False, process=3000, device=None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_graph_bundle(tmp_path_factory.mktemp("limits") / "bundle", honest(), *bars(60, seed=0))


def run(bundle, tmp_path, budget, **given):
    asked = Requirement(min_clean_acc=0.5, min_robust_acc=0.5, budget=budget)
    with pgd_believed():
        return verify(
            read_bundle(bundle),
            **{"engines": tmp_path / "engines", "requirement": asked, "backend": "onnx", "attack": "pgd", **given},
            progress=Silent(),
        )


def about_budget(report):
    """What does not follow, apart from an attack that is believed here alone."""
    return [problem for problem in problems_of(report) if problem.startswith(("budget", "origins", "verdict"))]


@pytest.mark.parametrize(
    ("memory", "target", "expected"),
    [
        (MEMORY, None, 3000),
        (MEMORY, HERE, 3000),
        (MEMORY, replace(HERE, power_mode="13W"), 3000),
        (MEMORY, replace(HERE, reached=False), None),
        (replace(MEMORY, gpu=True), HERE, None),
        (replace(MEMORY, gpu=True, device=70), HERE, 70),
        (None, HERE, None),
    ],
)
def test_memory_is_measured_where_the_engine_is_on_the_device(memory, target, expected):
    """Catches a process's memory taken for a GPU's, and another machine's for the device's."""
    assert peak_measured(memory, target) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "verdict"), [("1 GiB", "pass as claimed"), ("1 KiB", "fail")])
def test_a_limit_of_memory_is_held_against_what_the_engine_took(bundle, tmp_path, limit, verdict):
    """Catches the count of 1 KB, made from the graph, for what a runtime really takes."""
    found = run(bundle, tmp_path, Budget(peak_memory=limit))
    (judged,) = found.budget
    memory = found.engine_memory
    assert found.verdict == verdict
    assert memory is not None
    assert judged.measured == memory.process != memory.counted == read_bundle(bundle).manifest.model.cost.peak_bytes
    assert found.origins.figures["peak_bytes"] == "measured"
    assert "at its peak, opened and run on one image; 1.25 KiB are counted from the graph" in verification_text(found)
    assert about_budget(found) == []
    another = replace(found, engine_memory=replace(memory, process=7))
    assert any("budget.peak_bytes.measured" in problem for problem in about_budget(another))


def test_elsewhere_the_count_is_judged_and_said_to_be_a_claim(bundle, tmp_path, monkeypatch):
    """Catches a limit that is not judged any more where no memory was measured."""
    monkeypatch.setattr(IsolatedEngine, "weigh", lambda self, images: (None, None))
    found = run(bundle, tmp_path, Budget(peak_memory="1 GiB"))
    (judged,) = found.budget
    assert (judged.ok, judged.measured) == (True, read_bundle(bundle).manifest.model.cost.peak_bytes)
    assert found.origins.figures["peak_bytes"] == "claimed"
    assert "not measured; 1.25 KiB are counted" in verification_text(found)
    assert about_budget(found) == []


@pytest.mark.parametrize("limit", ["gpu_latency_ms", "gpu_latency_p95_ms", "gpu_latency_p99_ms", "energy_mj"])
def test_a_limit_of_what_nobody_can_tell_here_is_inconclusive(bundle, tmp_path, monkeypatch, limit):
    """Catches a pass of an engine whose time on the GPU has a limit and was never measured."""
    usual = IsolatedEngine.timing
    monkeypatch.setattr(IsolatedEngine, "timing", lambda *given: untold(*usual(*given)))
    found = run(bundle, tmp_path, Budget(**{limit: 1e6}))
    assert found.verdict == "inconclusive"
    assert any(f"{limit} cannot be measured here, by onnx on this machine" in reason for reason in reasons(found))


def untold(latency, timing):
    return latency, replace(timing, device_ms=None, energy=None)


@pytest.mark.parametrize(("allowed", "verdict"), [((2, 3, 4), "pass as claimed"), ((2, 3, 3.9), "fail")])
def test_a_gpus_own_time_has_limits_of_its_own(bundle, tmp_path, monkeypatch, allowed, verdict):
    """Catches the time end to end for the GPU's, and percentiles mixed up."""
    usual = IsolatedEngine.timing

    def told(*given):
        latency, timing = usual(*given)
        return latency, replace(timing, device_ms=DeviceLatency(p50=2, p95=3, p99=4))

    monkeypatch.setattr(IsolatedEngine, "timing", told)
    p50, p95, p99 = allowed
    budget = Budget(gpu_latency_ms=p50, gpu_latency_p95_ms=p95, gpu_latency_p99_ms=p99)
    found = run(bundle, tmp_path, budget)
    assert [limit.measured for limit in found.budget] == [2, 3, 4]
    assert found.verdict == verdict
    assert about_budget(found) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["hangs", "hangs when opened"])
def test_an_engine_that_hangs_is_not_built_again(bundle, tmp_path, monkeypatch, how):
    """Catches a second build, of minutes, and a second wait for an engine that will hang again."""
    odd_backend.install(tmp_path / "plugins", monkeypatch, how)
    monkeypatch.setattr(isolated, "SECONDS", 2.0)
    opened, usual = [], EngineProcess.open

    def opens(self, backend, *given, **more):
        opened.append(backend)
        return usual(self, backend, *given, **more)

    monkeypatch.setattr(EngineProcess, "open", opens)
    monkeypatch.setattr(build, "seal", lambda path: None)
    with pytest.raises(EngineError, match="takes more than 2 s: it was stopped"):
        run(bundle, tmp_path, Budget(), backend="odd")
    assert opened.count("odd") == 1


def answered(batches: list[NDArray[np.float32]], n: int) -> NDArray[np.float32]:
    """What an engine that gives these batches of logits, one after the other, is taken to answer to n images."""
    left = iter(batches)
    return answers_to(np.zeros((n, 1, 1, 1), np.float32), lambda images: next(left))


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (np.zeros(64, np.float32), "a row for each is expected"),
        (np.zeros((1, 3), np.float32), "a row for each is expected"),
        (np.zeros((64, 4), np.float32), "a row for each is expected"),
    ],
)
def test_logits_of_another_shape_in_a_later_batch_are_an_engines_error(later, said):
    """Catches a graph whose answers cannot be put together, and a traceback instead of a line."""
    with pytest.raises(EngineError, match=said):
        answered([np.zeros((64, 3), np.float32), later], 128)


def test_logits_that_all_together_fill_the_memory_are_refused_at_the_first_batch():
    """Catches a network of half a million logits, each batch of which is within its call's limit."""
    wide = np.zeros((1, 500_000), np.float32)
    with pytest.raises(EngineError, match="500,000 logits come for each image"):
        answered([np.broadcast_to(wide, (64, 500_000))], 400)
    assert answered([wide], 1).shape == (1, 500_000)
