"""`edgerkd distill` as it is typed: settings, a kill, and two processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from edgerkd.distill.methods.registry import METHODS
from edgerkd.files.atomic import claim
from edgerkd.files.profiles import _named_files
from edgerkd.jobs.teacher_cache import cache_folder, kept_names
from tests.command import export_quickly, in_folder
from tests.runs import write_data
from tests.zoo import network

# The command in a process of its own, which waits to be killed when the second epoch has ended: its line is
# written, its checkpoint is not.
JOB = """
import sys, time
from pathlib import Path
from edgerkd.__main__ import main
from edgerkd.jobs import distill

write = distill.write_metrics


def write_and_wait(run, epoch):
    write(run, epoch)
    if epoch.epoch == 2:
        Path("second-epoch-is-done").touch()
        while True:
            time.sleep(3600)


distill.write_metrics = write_and_wait
main()
"""


@pytest.fixture(scope="session")
def bars(tmp_path_factory) -> tuple[str, ...]:
    """Flags that name small data and a teacher for them: random weights, which cost nothing to make."""
    folder = tmp_path_factory.mktemp("bars")
    write_data(folder / "bars.npz", n=240)
    teacher = network(family="preactresnet", widths=(32, 64), blocks=(1, 1), classes=3)
    torch.save(teacher.state_dict(), folder / "wide.pt")
    flags = (
        "teacher",
        "import",
        folder / "wide.pt",
        "--data",
        folder / "bars.npz",
        "--eps",
        "8/255",
        "--accept-fragile",
    )
    ended = in_folder(folder, *flags)
    assert ended.code == 0, ended.err
    assert (cache_folder() / "wide").is_dir()
    return (
        "distill",
        "--profile",
        "x86-cpu",
        "--data",
        str(folder / "bars.npz"),
        "--eps",
        "8/255",
        "--teacher",
        "wide",
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "student" / "weights.safetensors")


@pytest.mark.slow
def test_settings_reach_the_recipe(bars, edgerkd, workdir):
    """Catches a setting that is accepted and goes nowhere."""
    settings = ("lr=0.01", "batch=16", "averaging=swa", "decay_at=[0.4]", "schedule=piecewise", "clip_norm=2")
    ended = edgerkd(*bars, "--method", "standard", "--epochs", 2, *(w for s in settings for w in ("--set", s)))
    assert ended.code == 0, ended.err
    recipe = json.loads((workdir / "runs" / "latest" / "run.json").read_text())["recipe"]
    assert (recipe["lr"], recipe["batch"], recipe["averaging"], recipe["clip_norm"]) == (0.01, 16, "swa", 2)
    lines = [json.loads(line) for line in (workdir / "runs" / "latest" / "metrics.jsonl").read_text().splitlines()]
    assert [line["lr"] for line in lines] == pytest.approx([0.01, 0.001])


def test_bad_settings_are_one_error_that_names_them_all(edgerkd, workdir):
    """Catches a run that begins with half of what was asked, and errors one at a time."""
    settings = ("attack_step=3", "lr=fast", "batch=1", "cutout=1.5", "clip_norm=0", "averaging=sma", "ema_decay=NaN")
    ended = edgerkd("distill", *(w for s in settings for w in ("--set", s)))
    assert ended.code == 3
    assert "--set: 7 problems" in ended.err
    assert "attack_step: unknown key: did you mean attack_steps?" in ended.err
    for key in ("lr", "batch", "cutout", "clip_norm", "averaging", "ema_decay"):
        assert f"- {key}: must be" in ended.err
    assert not (workdir / "runs").exists()


def test_the_methods_are_listed_with_their_options(edgerkd, workdir, monkeypatch):
    """Catches a list of its own that lacks a method, and options that nobody can find out."""
    monkeypatch.setenv("COLUMNS", "2000")  # so that no sentence is wrapped
    shown = edgerkd("distill", "--list-methods")
    assert shown.code == 0
    found = json.loads(edgerkd("distill", "--list-methods", "--json").out)
    assert [each["name"] for each in found["methods"]] == list(METHODS)
    assert found["options"]["edgerkd"]["keep_misclassified"] is False
    for method in found["methods"]:
        assert method["name"] in shown.out
        assert method["description"] in shown.out
    assert "weight_clean=0.1667, weight_igdm=0.9" in shown.out
    assert not (workdir / "runs").exists()


def test_what_is_no_setting_says_how_to_write_it(edgerkd, workdir):
    """Catches a flag's value that is overruled in silence."""
    ended = edgerkd("distill", "--set", "lr", "--set", "epochs=3", "--set", "lr=1", "--set", "lr=2")
    assert ended.code == 3
    for words in ("'lr': write KEY=VALUE", "epochs: has a flag of its own, --epochs", "lr: given twice"):
        assert words in ended.err
    assert edgerkd("distill", "--resume", "--set", "lr=1").code == 2


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(bars, edgerkd, workdir):
    """Catches state that only a clean end writes."""
    flags = (*bars, "--method", "edgerkd", "--epochs", "3", "--set", "batch=16", "--set", "attack_steps=2", "--run")
    assert edgerkd(*flags, "runs/whole").code == 0
    killed = subprocess.Popen(
        [sys.executable, "-c", JOB, *flags, "runs/killed"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while not Path("second-epoch-is-done").exists():
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not Path("runs/killed/student").exists()
    assert edgerkd("distill", "--resume", "--run", "runs/killed").code == 0
    whole, resumed = weights(Path("runs/whole")), weights(Path("runs/killed"))
    for name, value in whole.items():
        assert_close(resumed[name], value, rtol=0, atol=0, msg=name)
    lines = Path("runs/killed/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


@pytest.mark.slow
def test_two_processes_of_torchrun_train_one_student(bars, edgerkd, workdir):
    """Catches two run folders, two documents on stdout, and ranks that write over each other."""
    flags = (*bars, "--method", "edgerkd", "--epochs", "2", "--set", "batch=16", "--set", "attack_steps=1", "--json")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "--", "edgerkd", *flags],  # without --, torchrun takes --run for its own
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "student"
    runs = [path for path in Path("runs").iterdir() if not path.is_symlink()]
    assert len(runs) == 1
    lines = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert edgerkd("evaluate", "--attack", "fgsm").code == 0


def test_a_radius_of_0_and_decays_out_of_order_are_refused(edgerkd, workdir):
    """Catches a teacher that is trained to resist nothing, and a learning rate that falls twice at once."""
    ended = edgerkd("distill", "--eps", "0")
    assert (ended.code, "--eps 0: " in ended.err, "Write one above 0" in ended.err) == (3, True, True)
    for value in ("[0.9,0.1]", "[0.5,0.5]"):
        ended = edgerkd("distill", "--method", "standard", "--set", f"decay_at={value}")
        assert (ended.code, "--set: decay_at: each value must be above the one before" in ended.err) == (3, True)
    assert not (workdir / "runs").exists()


def test_a_file_in_the_place_of_runs_is_said_before_anything_is_written(bars, edgerkd, workdir):
    """Catches a traceback, and a folder left behind that the next attempt takes for a run."""
    Path("runs").write_text("mine")
    flags = (*bars, "--method", "standard", "--epochs", 1, "--run", "elsewhere")
    ended = edgerkd(*flags)
    assert (ended.code, "runs/link: cannot be written" in ended.err) == (4, True)
    assert not Path("elsewhere").exists()
    Path("runs").unlink()
    assert edgerkd(*flags).code == 0


@pytest.mark.slow
def test_a_student_attacked_otherwise_than_its_teacher_is_told_from_it(bars, edgerkd, workdir):
    """Catches one line about the attack below figures of two."""
    ended = edgerkd(*bars, "--method", "standard", "--epochs", 1)
    assert (ended.code, "not measured alike" in ended.out) == (0, False)
    assert edgerkd("evaluate", "--attack", "apgd-ce", "-n", 5).code == 0
    ended = edgerkd("distill", "--resume")
    assert "These were not measured alike: compare with care." in ended.out
    assert "5 of 80 test images drawn by class, seed 0, APGD-CE" in ended.out


def test_a_run_is_resumed_by_as_many_processes_as_it_began_with(bars, edgerkd, workdir):
    """Catches half a training with other batches, covariances and mixtures than the other half."""
    assert edgerkd(*bars, "--method", "standard", "--epochs", 1).code == 0
    path = Path("runs/latest/run.json")
    record = json.loads(path.read_text())
    assert record["processes"] == 1
    path.write_text(json.dumps({**record, "processes": 4}))
    Path("runs/latest/evaluation.json").unlink()
    ended = edgerkd("distill", "--resume")
    assert (ended.code, "was started with 4 processes, and with 1 the training" in ended.err) == (3, True)


def test_a_run_that_is_trained_elsewhere_is_not_gone_on_with(bars, edgerkd, workdir):
    """Catches two processes that write one run's metrics."""
    assert edgerkd(*bars, "--method", "standard", "--epochs", 1, "--run", "r").code == 0
    (workdir / "r" / "evaluation.json").unlink()
    with claim(workdir / "r"):
        ended = edgerkd("distill", "--resume", "--run", "r")
    assert ended.code == 3
    assert "another process is training this run" in ended.err
    assert edgerkd("distill", "--resume", "--run", "r").code == 0


@pytest.mark.slow
def test_a_method_that_asks_no_teacher_has_a_road_without_one(edgerkd, workdir, monkeypatch):
    """Catches minutes spent on a teacher that nothing uses, and an end of the road that takes one for granted."""
    monkeypatch.setenv("EDGERKD_CACHE", str(workdir / "cache"))
    write_data(workdir / "bars.npz", n=240)
    profile = _named_files()["x86-cpu"].read_text().replace("300_000", "5_000")  # parameters, for speed
    (workdir / "x86-cpu.toml").write_text(profile)
    flags = (
        "--data",
        "bars.npz",
        "--eps",
        "8/255",
        "--profile",
        "./x86-cpu.toml",
        "--method",
        "standard",
        "--epochs",
        1,
    )
    ended = edgerkd("distill", *flags)
    assert ended.code == 0, ended.err
    assert "no teacher: standard asks none, and none is kept for bars under Linf 8/255" in ended.err
    assert kept_names() == ()
    run = workdir / "runs" / "latest"
    record = json.loads((run / "run.json").read_text())
    assert (record["teacher"], record["teacher_sha256"], (run / "teacher.json").exists()) == (None, None, False)
    (run / "evaluation.json").unlink()
    resumed = edgerkd("distill", "--resume")
    assert (resumed.code, kept_names()) == (0, ()), resumed.err
    exported = export_quickly(workdir, "--format", "onnx", "--precision", "fp32", "-n", "40")
    assert exported.code == 0, exported.err
    assert "next: edgerkd verify --min-clean SHARE --min-robust SHARE" in exported.out
    manifest = json.loads((run / "bundle" / "manifest.json").read_text())
    assert manifest["origins"] == []
    assert manifest["reference"]["teacher_robust_acc"] is None
    assert edgerkd("verify").code == 2
    assert "retention" in edgerkd("verify", "--min-clean", "0.5", "--min-robust", "0.4").out
    reported = edgerkd("report")
    assert (reported.code, "teacher" in reported.err + reported.out) == (0, False)


def test_a_folder_called_like_a_known_data_set_is_that_folder(edgerkd, workdir):
    """Catches the embedded digits in place of the user's own pictures."""
    (workdir / "digits").mkdir()
    for given in ("./digits", "digits/", str(workdir / "digits")):
        ended = edgerkd("plan", "--data", given)
        assert ended.code == 3
        assert "not a folder of pictures" in ended.err
