"""`edgerkd evaluate` as it is typed: flags, a kill, two processes, the curve and the comparison."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from edgerkd.attacks.suite import descriptions
from edgerkd.core.data_request import DataRequest
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.data.load import load_samples
from edgerkd.data.split import draw
from edgerkd.files.atomic import sha256_of
from edgerkd.jobs import evaluate as job
from edgerkd.jobs import teacher_cache
from edgerkd.models.hardware import images_at_once
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.models.store import WEIGHTS, load_network, save_network
from tests.listening import Listening
from tests.runs import write_data, write_small_run
from tests.zoo import network

# The job with small chunks, in a process of its own, which can wait to be killed.
JOB = """
import sys, time
from pathlib import Path
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.jobs.evaluate import Request, evaluate_run
from edgerkd.jobs.evaluation_state import ChunkStore

run, pause = Path(sys.argv[1]), sys.argv[2]  # the run's folder, and when to wait for the kill
save = ChunkStore.save


def save_and_wait(self, first, found):
    save(self, first, found)
    if pause == "after the first chunk":
        (run / "first-chunk-is-done").touch()
        while True:
            time.sleep(3600)


ChunkStore.save = save_and_wait
evaluate_run(RunFolder(run), Request(chunk=8, n=40, seed=2), progress=Silent())
"""


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return write_small_run(tmp_path / "runs" / "small")


def start(run: RunFolder, pause: str = "never", **environment: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(run.path), pause],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in environment.items()},
    )


def appears(path: Path, seconds: float = 60) -> None:
    """Wait for a file that another process makes."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_the_same(run):
    """Catches state that only a clean end writes, and a result that depends on the kill."""
    killed = start(run, "after the first chunk")
    appears(run.path / "first-chunk-is-done")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not run.evaluation.exists()
    assert len(list(run.evaluations.glob("*/chunk-*.npz"))) == 1
    heard = Listening()
    request = job.Request(chunk=8, n=40, seed=2)
    resumed = job.evaluate_run(run, request, progress=heard)
    assert heard.lines == ["student: 1 of 5 chunks were finished before and are taken from there"]
    text = run.evaluation.read_bytes()
    assert not run.evaluations.exists()
    heard.lines.clear()
    assert job.evaluate_run(run, request, progress=heard) == resumed
    assert heard.lines == []
    assert run.evaluation.read_bytes() == text


@pytest.mark.slow
def test_two_processes_of_torchrun_find_what_one_finds(tmp_path, edgerkd):
    """Catches a rank that prints, writes or keeps another result, and the CLI without its ranks."""
    run = write_small_run(tmp_path / "runs" / "large", n=1800)
    assert 2 * images_at_once((1, 8, 8)) < 600, "one rank has to have two chunks, one of them short"
    flags = ("evaluate", "--run", run.path, "--attack", "fgsm", "--json")
    alone = edgerkd(*flags)
    written = run.evaluation.read_bytes()
    run.evaluation.unlink()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "--", "edgerkd", *map(str, flags)],  # without --, torchrun takes --run for its own
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == alone.out
    assert run.evaluation.read_bytes() == written
    assert not run.evaluations.exists()


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_others(run):
    """Catches a barrier that waits for ever for a process that is gone."""
    meeting = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    dying = start(run, "after the first chunk", RANK=1, **meeting)
    living = start(run, RANK=0, **meeting)
    try:
        appears(run.path / "first-chunk-is-done")
        dying.send_signal(signal.SIGKILL)
        out, err = living.communicate(timeout=60)
    finally:
        for process in (dying, living):
            process.kill()
            process.communicate()
    assert living.returncode == 1, out
    assert "another rank of this command has ended" in err
    assert not run.evaluation.exists()
    assert run.evaluations.exists(), "what was finished is kept"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_pgd_alone_is_said_to_over_report(run, edgerkd):
    """Catches a weak attack's figure without its warning, in the terminal or in the JSON."""
    shown = edgerkd("evaluate", "--run", run.path, "-n", 20)
    assert "note: pgd alone over-reports" in shown.out
    found = json.loads(edgerkd("evaluate", "--run", run.path, "-n", 20, "--json").out)
    assert {"id": "over-reports", "facts": {"name": "pgd"}} in found["flags"]
    apgd = json.loads(edgerkd("evaluate", "--run", run.path, "-n", 20, "--attack", "apgd", "--json").out)
    assert "over-reports" not in {flag["id"] for flag in apgd["flags"]}
    assert [row["attack"] for row in apgd["rows"]] == ["apgd-ce", "apgd-t"]


@pytest.mark.slow
def test_norm_and_radius_reach_the_attack(run, edgerkd):
    """Catches --norm that is only printed."""
    flags = ("evaluate", "--run", run.path, "--json", "--eps", "8/255", "--norm")
    found = {norm: json.loads(edgerkd(*flags, norm).out) for norm in ("L2", "linf")}
    assert found["L2"]["threat_model"] == {"norm": "L2", "eps": "8/255"}
    assert found["linf"]["threat_model"]["norm"] == "Linf"
    assert found["L2"]["robust_acc"]["value"] > found["linf"]["robust_acc"]["value"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--eps", "-1/255"], 3, "outside 0 to 10000"),
        (["--eps", "nan"], 3, "not a number"),
        (["--eps", "inf"], 3, "not a number"),
        (["--eps", "1.01"], 3, "radius 1.01 in Linf is outside 0 to 1 (images lie in [0, 1])"),
        (["--curve", "0.5,2"], 3, "radius 2 in Linf is outside 0 to 1"),
        (["--eps", "8"], 3, "write 8/255, not 8"),
        (["--eps", "eight"], 3, "not a number"),
        (["--eps", "8/0"], 3, "not a number"),
        (["--eps", ""], 3, "not a number"),
        (["--attack", "autoatack"], 3, "did you mean 'autoattack'"),
        (["--norm", "L1"], 3, "known: L2, Linf"),
        (["--norm", "L2"], 3, "needs --eps"),
        (["--curve", "2/255,-9,x"], 3, "2 problems"),
        (["--curve", "0"], 3, "above 0"),
        (["--curve", "2/255", "--eps", "1/255"], 2, "--curve"),
        (["--curve", "2/255", "--against", "x"], 2, "--against"),
        (["--curve", "2/255", "--with-teacher"], 3, "--with-teacher"),
        (["--with-teacher"], 2, "--curve"),
        (["--against", "nowhere"], 3, "--against: nowhere: there is no such folder"),
        (["-n", "0"], 2, "-n"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_error(small, edgerkd, arguments, code, message):
    """Catches a traceback, another exit code, work begun all the same, and a message that does not help."""
    ended = edgerkd("evaluate", "--run", small.path, *arguments)
    assert ended.code == code
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert not small.evaluations.exists()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> RunFolder:
    return write_small_run(tmp_path_factory.mktemp("small") / "runs" / "small")


@pytest.mark.slow
def test_a_curve_is_drawn_with_one_command(run, edgerkd):
    """Catches radii attacked by the run's own eps, a picture of other figures, and points out of order."""
    ended = edgerkd("evaluate", "--run", run.path, "--curve", "8/255,0,2/255,32/255", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert json.loads(run.curve.read_text()) == found
    (drawn,) = found["curves"]
    assert [point["eps"] for point in drawn["points"]] == ["0/255", "2/255", "8/255", "32/255"]
    values = [point["robust_acc"]["value"] for point in drawn["points"]]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]
    for eps, value in (("2/255", values[1]), ("32/255", values[3])):
        alone = json.loads(edgerkd("evaluate", "--run", run.path, "--eps", eps, "--json").out)
        assert alone["robust_acc"]["value"] == value
        assert alone["clean_acc"]["value"] == values[0]
    page = run.curve_page.read_text()
    assert all(f"{value:.1%}" in page for value in values)
    assert "over-reports" in {flag["id"] for flag in found["flags"]}
    assert not run.evaluations.exists()
    table = edgerkd("evaluate", "--run", run.path, "--curve", "2/255")
    assert f"{values[1]:.1%}" in table.out
    assert str(run.curve_page) in table.out


def test_a_curve_shows_the_teacher_beside_the_student(run, edgerkd, monkeypatch):
    """Catches two curves of one network."""
    folder = run.path.parent / "teacher"
    save_network(network(seed=3, classes=3, widths=(16, 16)), folder)
    sha256 = sha256_of(folder / WEIGHTS)
    kept = load_network(folder), _Card("curves-teacher", sha256)
    monkeypatch.setattr(teacher_cache, "kept_teacher", lambda name: kept)
    record = json.loads(run.recipe.read_text())
    run.recipe.write_text(json.dumps({**record, "teacher": "curves-teacher", "teacher_sha256": sha256}))
    ended = edgerkd("evaluate", "--run", run.path, "--curve", "0,8/255", "--with-teacher", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert [curve["name"] for curve in found["curves"]] == ["student", "teacher"]
    assert [curve["architecture"]["widths"] for curve in found["curves"]] == [[8, 16], [16, 16]]
    assert found["curves"][0]["points"] != found["curves"][1]["points"]
    assert 'class="band teacher"' in run.curve_page.read_text()


class _Card:
    def __init__(self, name: str, weights_sha256: str) -> None:
        self.name, self.weights_sha256 = name, weights_sha256


@pytest.mark.slow
def test_two_students_are_compared_image_by_image(run, edgerkd):
    """Catches a comparison of two means, of different images, or with first and second swapped."""
    other = write_small_run(run.path.parent / "other", seed=1)
    flags = ("evaluate", "--run", run.path, "--against", other.path, "--seed", 1)
    ended = edgerkd(*flags, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert json.loads(run.comparison.read_text()) == found
    assert (found["first"]["name"], found["second"]["name"]) == ("small", "other")
    for key, accuracy in (("clean", "clean_acc"), ("robust", "robust_acc")):
        pairs = found[key]
        n = found["first"]["n"]
        assert pairs["both"] + pairs["only_first"] + pairs["only_second"] + pairs["neither"] == n
        assert (pairs["both"] + pairs["only_first"]) / n == found["first"][accuracy]["value"]
        assert (pairs["both"] + pairs["only_second"]) / n == found["second"][accuracy]["value"]
    alone = json.loads(edgerkd("evaluate", "--run", other.path, "--seed", 1, "--json").out)
    assert alone["robust_acc"] == found["second"]["robust_acc"]
    assert not run.evaluations.exists()
    shown = edgerkd(*flags)
    assert "McNemar" in shown.out
    assert "Newcombe" in shown.out
    same = json.loads(edgerkd("evaluate", "--run", run.path, "--against", run.path, "--json").out)
    assert (same["robust"]["only_first"], same["robust"]["only_second"], same["robust"]["p_value"]) == (0, 0, 1.0)


def test_students_of_other_data_are_not_compared(run, edgerkd, tmp_path):
    """Catches pairs of images that have nothing to do with each other."""
    other = write_small_run(tmp_path / "elsewhere" / "other", n=240)
    ended = edgerkd("evaluate", "--run", run.path, "--against", other.path)
    assert ended.code == 3
    assert "only students of the same data" in ended.err


@pytest.mark.parametrize(
    "command", [["evaluate"], ["evaluate", "--curve", "1/255"], ["analyze", "variance-gap"], ["export"]]
)
def test_a_run_whose_training_has_not_ended_says_how_to_end_it(tmp_path, edgerkd, command):
    """Catches a file called damaged that nobody has written yet."""
    run = write_small_run(tmp_path / "runs" / "half")
    shutil.rmtree(run.student)
    ended = edgerkd(*command, "--run", run.path)
    assert ended.code == 3
    assert f"training is not finished: resume it with `edgerkd distill --resume --run {run.path}`" in ended.err


def test_the_attacks_are_listed_with_what_they_are(edgerkd, monkeypatch):
    """Catches a list of its own that lacks an attack, and an ensemble that does not say what it holds."""
    monkeypatch.setenv("COLUMNS", "2000")  # so that no sentence is wrapped
    shown = edgerkd("evaluate", "--list-attacks")
    assert shown.code == 0
    found = json.loads(edgerkd("evaluate", "--list-attacks", "--json").out)["attacks"]
    assert found == descriptions()
    for name, words in found.items():
        assert name in shown.out
        assert words in shown.out
    assert "APGD-CE, APGD-T, FAB-T, Square" in found["autoattack"]


@pytest.fixture
def own(workdir) -> Path:
    """A folder with a network of the user's own, and labelled images."""
    write_data(workdir / "bars.npz")
    (workdir / "mine.onnx").write_bytes(onnx_from_network(network(seed=5, classes=3)))
    return workdir


@pytest.mark.slow
def test_a_network_of_ones_own_is_attacked_as_a_student_is(own, edgerkd):
    """Catches figures of other images or of another network, and a file that nobody asked for."""
    command = ("evaluate", "mine.onnx", "--data", "bars.npz", "--eps", "8/255", "--normalize", "none", "-n", "40")
    found = json.loads(edgerkd(*command, "--json", "--out", "mine.json").out)
    assert found == json.loads((own / "mine.json").read_text())
    assert (found["name"], found["n"], found["of"], found["architecture"]["family"]) == ("mine", 40, 60, "graph")
    assert found["threat_model"] == {"norm": "Linf", "eps": "8/255"}
    assert found["robust_acc"]["value"] <= found["clean_acc"]["value"]
    drawn = load_samples(DataRequest(source="bars.npz"), progress=Silent()).test
    assert drawn is not None
    drawn = drawn.take(draw(drawn.labels, 40, seed=0))
    images = torch.from_numpy(drawn.images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        right = network(seed=5, classes=3)(images).argmax(1) == torch.from_numpy(drawn.labels)
    assert found["clean_acc"]["value"] == pytest.approx(right.float().mean().item())
    before = sorted(own.iterdir())
    shown = edgerkd(*command).out
    assert "worst case" in shown
    assert "Linf 8/255, 40 of 60 test images" in shown
    assert sorted(own.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("mine.onnx", "--eps", "8/255"), "--data"),
        (("mine.onnx", "--data", "bars.npz", "--run", "x"), "--run: is about a run"),
        (("mine.onnx", "--data", "bars.npz", "--curve", "0,1/255"), "--curve: is about a run"),
        (("--data", "bars.npz"), "--data: is about a network of your own"),
        (("--normalize", "none"), "--normalize: is about a network of your own"),
    ],
)
def test_flags_of_a_run_and_of_a_model_do_not_mix(own, edgerkd, flags, message):
    """Catches a flag that is dropped in silence."""
    found = edgerkd("evaluate", *flags)
    assert found.code == 2
    assert message in " ".join(found.err.split())
