"""Engines in a process of their own: whatever one does, this process goes on and says so."""

import os

import numpy as np
import pytest

from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError
from edgerkd.verify import isolated, pace
from edgerkd.verify.isolated import EngineProcess
from edgerkd.verify.pace import Pace
from edgerkd.verify.peak import peak_bytes, start_peak
from tests import odd_backend
from tests.exporters.small_graphs import SHAPE, classifier, classifier_numpy, save

IMAGES = np.random.default_rng(0).random((5, *SHAPE), np.float32)


@pytest.fixture
def graph(tmp_path):
    return save(classifier(), tmp_path / "student.onnx")


def test_an_engine_answers_as_it_would_here(graph):
    """Catches arrays that change on the way, a latency that nobody measured, and a process that stays."""
    with EngineProcess() as process:
        live = process.open("onnx", graph, outputs=1)
        (logits,) = live(IMAGES)
        np.testing.assert_allclose(logits, classifier_numpy(IMAGES), atol=1e-5)
        assert (live.backend, live.device.kind) == ("onnx", "cpu")
        assert live.timing(IMAGES[:1])[0].runs == 200
        with pytest.raises(EngineError, match="must have shape"):
            live(IMAGES[:, :2])
        assert live(IMAGES)[0].shape == logits.shape, "an error ended the process"
        number = process._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_what_cannot_be_opened_is_said_as_the_backend_says_it(tmp_path, graph):
    """Catches an error that comes back as another kind, with another exit code."""
    (tmp_path / "text.onnx").write_bytes(b"no graph")
    with EngineProcess() as process, pytest.raises(ArtefactError, match=r"text\.onnx: not an ONNX graph"):
        process.open("onnx", tmp_path / "text.onnx", outputs=1)
    with EngineProcess() as process, pytest.raises(MissingDependencyError):
        process.open("onnx-cuda", graph, outputs=1)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("hangs", "running it takes more than 1 s: it was stopped"),
        ("hangs when opened", "opening it takes more than 1 s: it was stopped"),
        ("takes memory", "are plenty: it was stopped"),
        ("crashes", "running it ended its process: signal 11, a crash of the runtime"),
        ("ends", "running it ended its process: exit code 3"),
        ("raises", "ZeroDivisionError: by zero"),
        ("answers too much", "answers with 320 MiB"),
        ("answers in float64", "answers with float64"),
    ],
)
def test_an_engine_that_misbehaves_is_an_engine_that_fails(how, said, graph, tmp_path, monkeypatch):
    """Catches a verification that hangs, is killed, or crashes because its engine does."""
    odd_backend.install(tmp_path / "plugins", monkeypatch, how)
    monkeypatch.setattr(isolated, "SECONDS", 60.0 if "memory" in how else 1.0)
    monkeypatch.setattr(isolated, "MEMORY", (160 if "memory" in how else 2000) << 20)

    def three_calls(process):
        live = process.open("odd", graph, outputs=1)
        return [live(IMAGES) for _ in range(3)]

    with EngineProcess() as process, pytest.raises(EngineError) as caught:
        three_calls(process)
    assert said in str(caught.value)


def test_larger_engines_and_batches_may_take_longer_and_more(graph, monkeypatch):
    """Catches limits of a small network for a large one, or for 64 images at once."""
    asked = []
    with EngineProcess() as process:
        live = process.open("onnx", graph, outputs=1)
        ask = process._ask
        monkeypatch.setattr(process, "_ask", lambda *args, **kw: asked.append(kw) or ask(*args, **kw))
        for count, size in ((1, live.size), (64, live.size), (1, 100 << 20)):
            live.size, process._spare = size, isolated.SECONDS
            live(np.resize(IMAGES, (count, *SHAPE)))
    (one, many, large) = asked
    usual = isolated.SECONDS + isolated.SECONDS_A_CALL
    assert many["seconds"] > one["seconds"] == pytest.approx(usual, abs=0.01)
    assert large["seconds"] > one["seconds"] + 9
    assert many["memory"] - one["memory"] == 63 * IMAGES[0].nbytes * isolated.A_BYTE_OF_IMAGES


class Clock:
    """A time that passes as it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def taking(graph, monkeypatch):
    """Calls of a small engine that take so many seconds each, of which it says how many were allowed."""
    clock = Clock()
    with EngineProcess() as process:
        live = process.open("onnx", graph, outputs=1)
        monkeypatch.setattr(isolated, "time", clock)

        def ask(*given, seconds, due, **more):
            if took[0] > seconds + due * (pace_now[0] - 1):
                raise isolated.SlowError("stopped")
            clock.now += took[0]
            return {}, [IMAGES]

        took, pace_now = [0.0], [1.0]
        monkeypatch.setattr(process, "_ask", ask)
        monkeypatch.setattr(Pace, "factor", lambda self: pace_now[0])

        def calls(seconds: float, count: int, *, slow: float = 1.0) -> None:
            took[0], pace_now[0] = seconds, slow
            for _ in range(count):
                process.call(live, {}, (IMAGES,))

        yield calls


def test_an_engine_that_is_late_at_every_call_is_stopped(taking):
    """Catches a limit for each call alone: eight seconds a call are hours of an attack, and no call is ever late."""
    taking(8.0, 1)
    with pytest.raises(isolated.SlowError):
        taking(8.0, 1)


def test_a_slow_machine_gives_engines_longer(taking):
    """Catches an honest engine stopped because it is emulated, or because other work has the cores."""
    taking(2.0, 100, slow=30.0)
    taking(12.0, 1, slow=30.0)
    with pytest.raises(isolated.SlowError):
        taking(20.0, 1, slow=30.0)


@pytest.mark.parametrize(("slow", "said"), [(1.0, "takes more than 0.3 s"), (5.0, "takes more than 0.7 s")])
def test_the_machine_is_looked_at_before_an_engine_is_stopped(graph, tmp_path, monkeypatch, slow, said):
    """Catches a pace that is only asked for afterwards, or again and again, so that nothing is ever stopped."""
    odd_backend.install(tmp_path / "plugins", monkeypatch, "hangs")
    monkeypatch.setattr(Pace, "factor", lambda self: slow)
    with EngineProcess() as process:
        live = process.open("odd", graph, outputs=1)
        process._spare = 0.2
        with pytest.raises(isolated.SlowError, match=said):
            live(IMAGES[:1])


def test_the_pace_is_measured_now_and_then_and_is_never_a_reason_to_hurry(monkeypatch):
    """Catches a fast machine that gives engines less, one that is never done, and a second's work at each late call."""
    clock, found = Clock(), [0.0]
    monkeypatch.setattr(pace, "time", clock)
    monkeypatch.setattr(pace, "_seconds", lambda: found[0])
    own = Pace()
    for clock.now, found[0], expected in (
        (0.0, pace.USUAL / 10, 1.0),
        (1.0, pace.USUAL * 3, 1.0),
        (1 + pace.AGAIN, pace.USUAL * 3, 3.0),
        (2 + 2 * pace.AGAIN, 1e9, pace.MOST),
    ):
        assert own.factor() == expected


def test_an_engine_that_is_late_now_and_then_goes_on(taking):
    """Catches a sum that never falls: kernels are tried once for each new size of a batch."""
    for _ in range(20):
        taking(8.0, 1)
        taking(0.01, 100)


def test_time_that_was_saved_is_no_room_for_a_hang(taking):
    """Catches a sum without a limit: after a thousand fast calls one could hang for a minute and more."""
    taking(0.0, 1000)
    with pytest.raises(isolated.SlowError):
        taking(isolated.SECONDS + 1, 1)


@pytest.mark.parametrize(
    ("how", "low", "high"), [("is usual", 0, 40), ("holds 64 MB", 64, 104), ("takes 64 MB for a moment", 64, 104)]
)
def test_what_an_engine_takes_is_weighed(graph, tmp_path, monkeypatch, how, low, high):
    """Catches all that its process holds, Python and runtime with it, and what is held afterwards for the peak."""
    odd_backend.install(tmp_path / "plugins", monkeypatch, how)
    with EngineProcess() as process:
        taken, device = process.open("odd", graph, outputs=1).weigh(IMAGES[:1])
    assert device is None
    assert taken is not None
    assert low * 10**6 <= taken < high * 10**6


def test_what_an_engine_takes_of_a_gpu_is_what_is_less_free(graph, tmp_path, monkeypatch):
    """Catches what is free for what was taken, and a GPU that is never asked."""
    odd_backend.install(tmp_path / "plugins", monkeypatch, "lies on a GPU")
    with EngineProcess() as process:
        assert process.open("odd", graph, outputs=1).weigh(IMAGES[:1])[1] == 1 << 28


def test_a_peak_is_not_known_where_the_system_keeps_none(tmp_path):
    """Catches a peak from before the engine was opened, taken for its own."""
    assert start_peak(tmp_path / "none") is None
    (tmp_path / "clear_refs").touch()
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  99 kB\nVmRSS:\t  12 kB\n")
    assert (start_peak(tmp_path), peak_bytes(tmp_path)) == (12 << 10, 99 << 10)
    assert (tmp_path / "clear_refs").read_text() == "5"
