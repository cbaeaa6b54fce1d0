"""distill, export, verify: the main job, through the real command line. Slow, all of it: the road is walked first."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from edgerkd.bundle.read import read_bundle
from edgerkd.bundle.signature import SIGNATURE
from edgerkd.core.data_request import DataRequest
from edgerkd.core.manifest import SAMPLES
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.core.verification import VerifyReport
from edgerkd.files.decode import decode_json
from edgerkd.files.profiles import _named_files, load_profile
from edgerkd.jobs import distill as job
from edgerkd.jobs.data import open_data
from edgerkd.jobs.teacher_cache import cache_folder
from edgerkd.report.words import reasons
from tests.bundles import GRAPH, REFERENCE, TWIN, report_on
from tests.command import process
from tests.zoo import network

pytestmark = pytest.mark.slow

FILES = (GRAPH, TWIN, REFERENCE, SAMPLES)
QUICK = ("--attack", "fgsm")  # where the attack is not what is asked about


def test_the_three_commands_work_in_an_empty_folder_without_further_flags(road):
    """Catches a default that is missing: profile, data, teacher, run, bundle."""
    for ended in (road.distilled, road.exported):
        assert ended.code == 0, ended.err
    assert road.verified.code in (0, 7), road.verified.err  # a short training's student may lie too near its gates
    assert "will be built on the device" in road.exported.out
    run = RunFolder(road.folder / "runs" / (road.folder / "runs" / "latest").readlink())
    for path in (run.recipe, run.metrics, run.student, run.evaluation, run.teacher, run.bundle, report_on(run.bundle)):
        assert path.exists(), path
    assert re.search(r"^(PASS|INCONCLUSIVE) on onnx", road.verified.out, re.MULTILINE)


def test_an_honestly_distilled_student_passes_and_a_standard_trained_one_fails(road):
    """Catches gates that let everything through, and gates that nothing can pass."""
    out = road.folder / "passed.json"
    bundle = str(road.folder / "runs" / "latest" / "bundle")
    lenient = road.folder / "lenient.toml"  # about the engine's losses: the host attacked by PGD alone here
    text = (Path(__file__).parents[2] / "profiles" / "jetson-orin.toml").read_text()
    lenient.write_text(text.replace("jetson-orin", "lenient").replace("retention = 0.95", "retention = 0.8"))
    options = ("--variant", "fp32", "--min-robust", "0.5", "--profile", str(lenient), "--out", str(out))
    process(road.folder, "verify", bundle, *options)
    passed = decode_json(VerifyReport, out)
    assert passed.verdict == "pass", reasons(passed)
    assert [row.attack for row in passed.rows][-3:] == ["apgd-ce", "apgd-t3", "square:500"]
    assert not any(notice.id == "over-reports" for notice in passed.notices)
    assert passed.reference is not None
    ended = process(road.folder, "verify", str(road.standard / "bundle"), "--json")
    failed = json.loads(ended.out)
    assert ended.code == 1
    assert failed["verdict"] == "fail"
    assert ("robust_acc", "fail") in [(gate["gate"], gate["verdict"]) for gate in failed["gates"]]
    assert failed["clean_acc"]["value"] > 0.9, "it must fail for its robustness, not because it learned nothing"
    assert passed.robust_acc.low > failed["robust_acc"]["high"]


def test_the_student_keeps_the_budget_and_is_smaller_than_its_teacher(road):
    """Catches a plan that is not the student trained."""
    record = json.loads((road.folder / "runs" / "latest" / "run.json").read_text())
    teacher = json.loads((road.folder / "runs" / "latest" / "teacher.json").read_text())
    assert record["cost"]["params"] <= record["profile"]["budget"]["params"]
    assert record["cost"]["macs"] <= 0.25 * teacher["cost"]["macs"]
    weights = load_file(road.folder / "runs" / "latest" / "student" / "weights.safetensors")
    assert weights["linear.weight"].shape[1] == record["architecture"]["widths"][-1]


def test_verify_never_imports_torch(road):
    """Catches an import that a device cannot make."""
    code = (
        "import sys\nsys.modules['torch'] = None\nsys.argv = ['edgerkd', 'verify', *sys.argv[1:]]\n"
        "from edgerkd.__main__ import main\nmain()"
    )
    bundle = road.folder / "runs" / "latest" / "bundle"
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle), *QUICK], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 7), done.stderr


def test_json_is_one_document_with_what_the_design_promises(road, edgerkd, monkeypatch):
    """Catches progress or a table on stdout, and a field renamed."""
    monkeypatch.chdir(road.folder)
    verified = json.loads(edgerkd("verify", *QUICK, "--json").out)
    for key in ("verdict", "engine", "parity", "clean_acc", "robust_acc", "rows", "retention", "latency_ms", "budget"):
        assert key in verified
    assert set(verified["engine"]) >= {"backend", "version", "device", "variant", "precision", "sha256"}
    assert set(verified["clean_acc"]) == {"value", "n", "low", "high"}
    evaluated = json.loads(edgerkd("evaluate", "-n", "40", "--json").out)
    for key in ("clean_acc", "robust_acc", "rows", "flags", "threat_model", "n"):
        assert key in evaluated
    assert evaluated["n"] == 40
    assert json.loads(edgerkd("plan", "--json").out)["chosen"]["violations"] == []
    assert json.loads(edgerkd("teacher", "list", "--json").out)["teachers"][0]["dataset"] == "digits"
    assert json.loads(edgerkd("build", "--json").out)["backend"] == "onnx"


def test_verify_runs_the_attacks_that_are_named_after_noise_and_what_the_host_stored(copied, edgerkd):
    """Catches --attack that goes nowhere, an unknown name that falls back in silence, and a row without its origin."""
    found = json.loads(edgerkd("verify", copied, "--attack", "fgsm", "--variant", "fp32", "--json").out)
    assert [(row["attack"], row["source"]) for row in found["rows"]] == [
        ("noise", "noise"),
        ("replay", "replay"),
        ("transfer:teacher", "transfer"),
        ("fgsm", "direct"),
    ]
    assert edgerkd("verify", copied, "--attack", "apdg").code == 3


def test_it_says_after_how_many_images_it_decided(road):
    """Catches a standard-trained student, which is far from every gate, attacked to the last image."""
    ended = process(road.folder, "verify", str(road.standard / "bundle"))
    assert ended.code == 1
    assert re.search(r"decided after (50|100) of 39\d images, drawn with seed \d+", ended.out)


def test_a_larger_radius_is_never_easier(road, edgerkd, monkeypatch):
    """Catches --eps that goes nowhere."""
    monkeypatch.chdir(road.folder)
    found = [
        json.loads(edgerkd("evaluate", "-n", "60", "--eps", eps, "--json").out) for eps in ("8/255", "32/255", "96/255")
    ]
    values = [f["robust_acc"]["value"] for f in found]
    assert values[0] > values[1] > values[2]
    assert found[2]["threat_model"]["eps"] == "96/255"


@pytest.fixture
def copied(road, tmp_path) -> Path:
    return Path(shutil.copytree(road.folder / "runs" / "latest" / "bundle", tmp_path / "carried"))


def test_a_bundle_carried_elsewhere_is_verified_beside_itself(copied, edgerkd):
    """Catches a verify that needs the run's folder, for a device has only the bundle, and one that writes into it."""
    before = sorted(path.name for path in copied.iterdir())
    assert {*FILES, "manifest.json"} <= set(before)
    assert edgerkd("verify", copied, *QUICK).code in (0, 7)  # where it looks for masking is drawn anew
    assert report_on(copied).exists()
    assert sorted(path.name for path in copied.iterdir()) == before


def test_two_bundles_carried_to_one_folder_keep_their_own_reports(copied, edgerkd):
    """Catches the second verdict that takes the first one's place, and a copy whose name is not its own."""
    other = Path(shutil.copytree(copied, copied.with_name("another")))
    for folder in (copied, other):
        assert edgerkd("verify", folder, *QUICK).code in (0, 7)
    reports = sorted(path.name for path in copied.parent.glob("verify*.json"))
    assert reports == sorted([report_on(copied).name, report_on(other).name])
    assert len(set(reports)) == 2
    assert len(list((copied.parent / "engines").iterdir())) == 2


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_exits_5(copied, edgerkd, name):
    """Catches another exit code than the design's."""
    (copied / name).unlink()
    ended = edgerkd("verify", copied)
    assert ended.code == 5
    assert name in ended.err


def test_a_changed_file_exits_5_and_writes_no_verdict(copied, edgerkd):
    """Catches a verdict about a tampered bundle."""
    path = copied / GRAPH
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    ended = edgerkd("verify", copied)
    assert ended.code == 5
    assert GRAPH in ended.err
    assert list(copied.parent.glob("verify*.json")) == []


def test_a_graph_that_is_no_onnx_exits_5(copied, edgerkd):
    """Catches a digest trusted for a format: the manifest agrees, the file is still no graph."""
    content = b"this is no graph, but it says QuantizeLinear"
    graph = read_bundle(copied).manifest.variant_for("onnx", "unsigned").graph
    (copied / graph).write_bytes(content)
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["files"][graph] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (copied / "manifest.json").write_text(json.dumps(manifest))
    (copied / SIGNATURE).unlink()
    ended = edgerkd("verify", copied)
    assert ended.code == 5
    assert graph in ended.err
    assert "ONNX" in ended.err


def test_without_gates_a_verdict_exits_2_and_figures_alone_0(copied, edgerkd):
    """Catches a pass where nothing was asked, figures that count as a failure, and thresholds that go nowhere."""
    manifest = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**manifest, "profiles": [], "reference": None}))
    (copied / SIGNATURE).unlink()
    ended = edgerkd("verify", copied)
    assert (ended.code, ended.out) == (2, "")
    assert "--min-robust" in ended.err
    assert "--measure" in ended.err
    assert list(copied.parent.glob("verify*.json")) == []
    measured = edgerkd("verify", copied, *QUICK, "--measure", "--json")
    assert measured.code == 0
    assert json.loads(measured.out)["verdict"] == "measured"
    assert json.loads(measured.out)["gates"] == []
    asked = edgerkd("verify", copied, *QUICK, "--min-robust", "0.99", "--min-clean", "0.5", "--json")
    assert asked.code == 1
    gates = {gate["gate"]: (gate["required"], gate["verdict"]) for gate in json.loads(asked.out)["gates"]}
    assert gates == {"clean_acc": (0.5, "pass"), "robust_acc": (0.99, "fail")}


def test_nan_weights_exit_5_on_export(road, edgerkd, tmp_path, monkeypatch):
    """Catches a student that answers NaN, exported as if nothing were wrong."""
    monkeypatch.chdir(road.folder)
    run = Path(shutil.copytree(road.folder / "runs" / "latest", tmp_path / "run"))
    weights = load_file(run / "student" / "weights.safetensors")
    weights["linear.bias"][0] = torch.nan
    save_file(weights, run / "student" / "weights.safetensors")
    before = (run / "bundle" / "manifest.json").read_bytes()
    ended = edgerkd("export", "--run", run)
    assert ended.code == 5
    assert "linear.bias: holds NaN" in ended.err
    assert (run / "bundle" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["distill", "--profile", "jetson-orim"], 3, "did you mean 'jetson-orin'"),
        (["distill", "--data", "digit"], 3, "did you mean 'digits'"),
        (["distill", "--method", "mixacn"], 3, "did you mean 'mixacm'"),
        (["distill", "--eps", "8"], 3, "write 8/255, not 8"),
        (["distill", "--eps", "-1/255"], 3, "outside 0 to 10000"),
        (["distill", "--teacher", "nobody"], 3, "no teacher named 'nobody'"),
        (["distill", "--teacher", "./gone.pt"], 3, "there is no such file"),
        (["distill", "--epochs", "0"], 2, "--epochs"),
        (["distill", "--resume", "--epochs", "3"], 2, "leave --epochs out"),
        (["distill", "--run", "."], 3, "write the name of a new folder"),
        (["distill", "--family", "mobilnetv2"], 3, "no family named 'mobilnetv2': did you mean 'mobilenetv"),
        (["plan", "--profile", "jetson-orim"], 3, "did you mean 'jetson-orin'"),
        (["plan", "--family", "torchvision:mobilenet_v9"], 3, "did you mean 'mobilenet_v"),
        (["teacher", "train", "--name", "../away"], 3, "no folder"),
        (["export", "--format", "tr"], 3, "did you mean 'trt'"),
        (["verify", "--backend", "onn"], 3, "did you mean 'onnx'"),
        (["verify", "--variant", "int8"], 3, "variant of this bundle for onnx named 'int8'"),
        (["verify", "--profile", "jetson-orim"], 3, "no profile in this bundle named 'jetson-orim'"),
        (["verify", "--min-robust", "40"], 2, "--min-robust"),
        (["build", "--backend", "onn"], 3, "did you mean 'onnx'"),
        (["export", "--profile", "jetson-orim"], 3, "did you mean 'jetson-orin'"),
        (["verify", "nowhere"], 3, "nowhere: there is no such bundle"),
        (["evaluate", "--run", "nowhere"], 3, "--run: nowhere: there is no such folder"),
        (["teacher", "import"], 2, "Missing argument 'SOURCE'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_error(road, edgerkd, monkeypatch, arguments, code, message):
    """Catches a traceback, another exit code, and a message that does not say how to fix it."""
    monkeypatch.chdir(road.folder)
    ended = edgerkd(*arguments)
    assert ended.code == code
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_an_empty_folder_says_how_to_start(edgerkd, workdir):
    """Catches a FileNotFoundError on runs/latest."""
    for command in ("export", "verify", "evaluate"):
        ended = edgerkd(command)
        assert ended.code == 3
        assert "edgerkd distill" in ended.err


def test_a_budget_nothing_fits_names_each_limit_with_required_and_measured(road, edgerkd, workdir):
    """Catches a bare 'no student': the user must know what to raise."""
    text = _named_files()["jetson-orin"].read_text()
    text = text.replace('name = "jetson-orin"', 'name = "tiny"').replace("params = 500_000", "params = 10")
    (workdir / "tiny.toml").write_text(text.replace('file = "4 MiB"', 'file = "1 KiB"'))
    assert load_profile(workdir / "tiny.toml").budget.params == 10
    ended = edgerkd("distill", "--profile", "./tiny.toml")
    assert ended.code == 3
    assert "params: required at most 10, measured" in ended.err
    assert "file_bytes: required at most 1024, measured" in ended.err
    assert not (workdir / "runs").exists()


def test_a_hostile_teacher_file_exits_5_and_runs_nothing(road, edgerkd, workdir):
    """Catches an unpickled file."""

    class Evil:
        def __reduce__(self):
            return (Path.touch, (workdir / "executed",))

    torch.save({"conv1.weight": Evil()}, workdir / "teacher.pt")
    ended = edgerkd("teacher", "import", "teacher.pt")
    assert ended.code == 5
    assert "Nothing in it was executed" in ended.err
    assert not (workdir / "executed").exists()


def test_a_fragile_teacher_is_refused_unless_accepted(road, edgerkd, monkeypatch):
    """Catches robustness distilled from a teacher that has none."""
    monkeypatch.chdir(road.folder)
    data, _ = open_data(DataRequest(source="digits"), eps=None, progress=Silent())
    net = network(family="preactresnet", widths=(8, 16), mean=data.mean, std=data.std)
    path = road.folder / "fragile.pt"
    state = net.state_dict()
    torch.save({re.sub(r"^layers\.(\d+)", lambda m: f"layer{int(m[1]) + 1}", k): v for k, v in state.items()}, path)
    ended = edgerkd("teacher", "import", path)
    assert ended.code == 3
    assert "Teacher fragile is near chance" in ended.err
    accepted = edgerkd("teacher", "import", path, "--name", "fragile", "--accept-fragile", "--json")
    assert accepted.code == 0
    try:
        assert json.loads(accepted.out)["teachers"][0]["name"] == "fragile"
    finally:
        shutil.rmtree(cache_folder() / "fragile")


def test_export_refuses_other_data_or_another_teacher_than_the_runs(road, edgerkd, tmp_path, monkeypatch):
    """Catches gates that are measured against another teacher, and images the student has learned from."""
    monkeypatch.chdir(road.folder)
    run = Path(shutil.copytree(road.folder / "runs" / "latest", tmp_path / "run"))
    text = (run / "run.json").read_text()
    record = json.loads(text)
    for digest in (record["data"]["sha256"], record["teacher_sha256"]):
        (run / "run.json").write_text(text.replace(digest, "0" * 64))
        ended = edgerkd("export", "--run", run)
        assert ended.code == 3
        assert re.search("(is|are) not the ones? the run was started with", ended.err)


def test_a_second_teacher_does_not_change_the_default(road, edgerkd, monkeypatch):
    """Catches the main job broken, or led by another teacher, once a second one is kept."""
    from edgerkd.jobs.teacher_cache import cache_folder, known_teachers

    monkeypatch.chdir(road.folder)
    (card,) = [card for card in known_teachers() if card.name == "digits-pgd-at-Linf-32-255"]
    twin = Path(shutil.copytree(cache_folder() / card.name, cache_folder() / "another"))
    try:
        (twin / "card.json").write_text((twin / "card.json").read_text().replace(card.name, "another"))
        assert edgerkd("plan").code == 0
        weights = bytearray((twin / "weights.safetensors").read_bytes())
        weights[-1] ^= 1
        (twin / "weights.safetensors").write_bytes(weights)
        ended = edgerkd("plan", "--teacher", "another")
        assert ended.code == 5
        assert "changed since" in ended.err
    finally:
        shutil.rmtree(twin)


def test_a_finished_run_is_not_done_again(road, edgerkd, monkeypatch):
    """Catches --resume that overwrites an evaluation which took hours."""
    monkeypatch.chdir(road.folder)
    evaluation = road.folder / "runs" / "latest" / "evaluation.json"
    before = evaluation.read_bytes()
    assert edgerkd("distill", "--resume", "--run", "runs/latest").code == 0
    assert evaluation.read_bytes() == before


def test_an_interrupt_exits_130_and_resume_ends_with_the_same_weights(road, edgerkd, workdir, monkeypatch):
    """Catches work lost by Ctrl-C, and a resumed run that is another run."""
    arguments = ("distill", "--method", "pgd-at", "--epochs", "3")
    assert edgerkd(*arguments, "--run", "runs/whole").code == 0
    write = job.write_metrics

    def write_and_stop(run, epoch):
        write(run, epoch)
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(job, "write_metrics", write_and_stop)
    ended = edgerkd(*arguments, "--run", "runs/stopped")
    assert ended.code == 130
    assert "kept" in ended.err
    monkeypatch.setattr(job, "write_metrics", write)
    refused = edgerkd(*arguments, "--run", "runs/stopped")
    assert refused.code == 3
    assert "--resume" in refused.err
    assert edgerkd("distill", "--resume").code == 0
    runs = [workdir / "runs" / name for name in ("whole", "stopped")]
    whole, resumed = (load_file(run / "student" / "weights.safetensors") for run in runs)
    for name, value in whole.items():
        assert_close(resumed[name], value, rtol=0, atol=0)
    epochs = [[json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()] for run in runs]
    assert epochs == [[1, 2, 3], [1, 2, 3]]
