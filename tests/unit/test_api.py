"""edgerkd/api.py: what a program imports, over a torch module, an ONNX file and a classifier of two functions."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import edgerkd
from edgerkd import api
from edgerkd.bundle.read import read_bundle
from edgerkd.core.comparison import Comparison, paired
from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import (
    ArtefactError,
    ConfigError,
    EdgerkdError,
    EngineError,
    MissingGatesError,
    UnknownNameError,
)
from edgerkd.core.record import Record
from edgerkd.core.teacher import TeacherCard
from edgerkd.files.decode import encode_json
from edgerkd.report.load import Facts
from edgerkd.verify.build import EngineRecord
from edgerkd.verify.doctor import Examination, Machine
from tests.report import samples
from tests.zoo import LinearToy

SHAPE = (1, 4, 4)
RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (60, *SHAPE), dtype=np.uint8)
IMAGES = PIXELS.astype(np.float32) / 255
WEIGHT = (RNG.standard_normal((16, 3)) / 4).astype(np.float32)
WEIGHT -= WEIGHT.mean(0)  # no class is the answer to every image
LABELS = (IMAGES.reshape(60, 16) @ WEIGHT).argmax(1)
EPS = "12/255"


def module() -> torch.nn.Module:
    """The network of `WEIGHT` in torch."""
    linear = torch.nn.Linear(16, 3)
    linear.weight.data, linear.bias.data = torch.from_numpy(WEIGHT.T.copy()), torch.zeros(3)
    return torch.nn.Sequential(torch.nn.Flatten(), linear)


def onnx_bytes(net: torch.nn.Module | None = None) -> bytes:
    """The same as an ONNX graph."""
    out = io.BytesIO()
    torch.onnx.export(net or module(), (torch.zeros(1, *SHAPE),), out, dynamo=False, opset_version=17)
    return out.getvalue()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "mine.onnx"
    path.write_bytes(onnx_bytes())
    return path


def robust_in_closed_form() -> np.ndarray:
    """Which images no perturbation within `EPS` changes: the worst margin against each other class stays above 0."""
    logits, eps = IMAGES.reshape(60, 16) @ WEIGHT, 12 / 255
    kept = np.ones(60, bool)
    for row, label in enumerate(LABELS):
        for other in set(range(3)) - {int(label)}:
            slope, x = WEIGHT[:, other] - WEIGHT[:, label], IMAGES[row].ravel()
            worst = np.where(slope > 0, np.minimum(x + eps, 1), np.maximum(x - eps, 0))
            kept[row] &= bool((worst @ slope) < 0)
        assert logits[row].argmax() == label
    return kept


KINDS = ("torch module", "ONNX path", "ONNX text", "ONNX bytes", "two functions", "two functions in torch")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_model_gives_what_a_formula_gives(kind: str, graph: Path) -> None:
    """Catches a kind that is attacked at another place than the model: other weights, scale, gradient or radius."""
    model = {
        "torch module": module(),
        "ONNX path": graph,
        "ONNX text": str(graph),
        "ONNX bytes": graph.read_bytes(),
        "two functions": LinearToy(WEIGHT),
        "two functions in torch": LinearToy(torch.from_numpy(WEIGHT)),
    }[kind]
    images, labels = (
        (IMAGES, LABELS) if kind != "two functions in torch" else (torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    )
    found = edgerkd.attack(model, images, labels, eps=EPS, attack="pgd", chunk=17)
    expected = robust_in_closed_form()
    assert 10 < expected.sum() < 50
    assert int((found.robust != expected).sum()) <= 1
    assert found.clean.all()
    assert (found.clean_acc.value, found.clean_acc.n) == (1.0, 60)
    assert found.robust_acc.value == pytest.approx(found.robust.mean())
    assert found.robust_acc.low < found.robust_acc.value < found.robust_acc.high
    assert [row.attack for row in found.rows] == ["pgd-20-ce", "pgd-20-margin"]
    assert found.images_adv.shape == IMAGES.shape
    assert np.abs(found.images_adv - IMAGES).max() <= 12 / 255 + 1e-6
    assert found.images_adv.min() >= 0
    assert found.images_adv.max() <= 1


def test_the_standard_ensemble_is_the_default() -> None:
    """Catches a weaker default: a figure that over-reports when nothing is said."""
    found = edgerkd.attack(LinearToy(WEIGHT), IMAGES[:8], LABELS[:8], eps=EPS)
    assert [row.attack for row in found.rows] == ["apgd-ce", "apgd-t", "fab-t", "square"]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (PIXELS, LABELS),
        (IMAGES.astype(np.float64), LABELS.astype(np.uint8)),
        (torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
        (torch.from_numpy(PIXELS), torch.from_numpy(LABELS).to(torch.int32)),
        (torch.from_numpy(IMAGES).requires_grad_(), torch.from_numpy(LABELS)),
        (IMAGES[:, :, ::-1][:, :, ::-1], list(LABELS)),
    ],
)
def test_images_and_labels_of_any_usual_type_are_the_same(images, labels) -> None:
    """Catches bytes taken for pixels of 0 to 255, and a library's arrays that are read as others."""
    wanted = edgerkd.attack(module(), IMAGES, LABELS, eps=EPS, attack="fgsm")
    found = edgerkd.attack(module(), images, labels, eps=EPS, attack="fgsm")
    np.testing.assert_array_equal(found.robust, wanted.robust)
    np.testing.assert_allclose(found.images_adv, wanted.images_adv, atol=1e-6)


@pytest.mark.slow
def test_a_seed_decides_and_a_chunk_does_not() -> None:
    """Catches random numbers that depend on the batch, and a seed that is not used."""

    def images_adv(seed: int, chunk: int) -> np.ndarray:
        found = edgerkd.attack(LinearToy(WEIGHT), IMAGES, LABELS, eps="4/255", attack="square", seed=seed, chunk=chunk)
        return found.images_adv

    np.testing.assert_array_equal(images_adv(0, 60), images_adv(0, 7))
    assert (images_adv(1, 60) != images_adv(0, 60)).any()


def test_eps_is_a_text_or_a_float() -> None:
    """Catches 8 / 255 read as something else than 8/255, so that a manifest and a report say another radius."""
    assert str(api._radius(8 / 255)) == str(api._radius("8/255")) == "8/255"
    assert str(api._radius(0.3)) == "0.3"
    assert float(api._radius(np.float32(0.25))) == 0.25
    assert api._radius(api._radius("0.3")) == api._radius("0.3")
    for wrong in (8, -0.1, float("nan"), float("inf"), "eight"):
        with pytest.raises(ConfigError, match="radius"):
            edgerkd.attack(module(), IMAGES, LABELS, eps=wrong)


class Pair(torch.nn.Module):
    def forward(self, images):
        return images.flatten(1), images


class Answers(torch.nn.Module):
    """Three logits of an image, as a function changes them."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.change(images.flatten(1)[:, :3])


class Training(torch.nn.Module):
    """Answers NaN in training mode, and leaves a part of itself in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.part = torch.nn.Dropout().eval()
        self.net = module()

    def forward(self, images):
        return self.net(images) / (0 if self.training else 1)


def test_a_module_is_left_in_the_mode_that_it_was_in() -> None:
    """Catches dropout that is on while attacked, and a training that goes on in evaluation mode afterwards."""
    net = Training().train()
    net.part.eval()
    edgerkd.attack(net, IMAGES, LABELS, eps=EPS, attack="fgsm")
    assert (net.training, net.net.training, net.part.training) == (True, True, False)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": LABELS + 1}, ConfigError, "labels range from 1 to 3: the model's 3 classes are 0 to 2"),
        ({"labels": LABELS[:5]}, ConfigError, "labels have the shape"),
        ({"labels": LABELS / 2}, ConfigError, "labels are torch.float64"),
        ({"images": IMAGES * 2 - 1}, ConfigError, r"images range from -1 to .*: expected \[0, 1\]"),
        ({"images": PIXELS.astype(np.float32)}, ConfigError, r"expected \[0, 1\]"),
        ({"images": PIXELS.astype(np.int64)}, ConfigError, "images are int64"),
        ({"images": IMAGES[0]}, ConfigError, r"images have the shape \(1, 4, 4\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, ConfigError, "none of them 0"),
        ({"model": 3}, ConfigError, "int is no model that can be attacked"),
        ({"model": np.argmax}, ConfigError, "is no model that can be attacked"),
        ({"model": "nowhere.onnx"}, ConfigError, r"nowhere\.onnx.*no such file"),
        ({"model": b"not a graph"}, ArtefactError, "ONNX"),
        ({"model": Pair()}, EngineError, "the model returns a tuple"),
        ({"model": torch.nn.Sequential(module(), torch.nn.Softmax(1))}, EngineError, "probabilities"),
        ({"model": LinearToy(WEIGHT * np.nan)}, EngineError, "NaN"),
        ({"attack": "pdg"}, UnknownNameError, "did you mean 'pgd'"),
        ({"norm": "L1"}, UnknownNameError, "There is no norm named 'L1'"),
        ({"images": IMAGES * np.nan}, ConfigError, "images hold NaN or infinite values"),
        ({"eps": None}, ConfigError, "eps: None is no radius"),
        ({"seed": -1}, ConfigError, "seed: -1"),
        ({"seed": 1.5}, ConfigError, "seed: 1.5, and it is a whole number from 0"),
        ({"seed": None}, ConfigError, "seed: None"),
        ({"chunk": 0}, ConfigError, "chunk: 0, and it is a whole number from 1"),
        ({"chunk": True}, ConfigError, "chunk: True"),
        ({"attack": None}, ConfigError, "attack: None is no text"),
        ({"eps": True}, ConfigError, "eps: True is no radius"),
        ({"images": (PIXELS > 100).astype(np.uint8)}, ConfigError, "bytes of 0 and 1 are nearly black"),
        ({"model": Answers(lambda z: z.detach())}, EngineError, "gives no gradient: RuntimeError"),
        (
            {"model": torch.nn.Linear(3, 3)},
            EngineError,
            r"does not answer an image .*: RuntimeError",
        ),
        ({"model": Answers(lambda z: z.argmax(1))}, EngineError, r"an array of shape \(1,\) for one image"),
        ({"model": Answers(lambda z: z.reshape(-1, 1, 3))}, EngineError, r"an array of shape \(1, 1, 3\)"),
    ],
)
def test_bad_input_is_one_clear_error(change: dict, error: type[EdgerkdError], message: str) -> None:
    """Catches a mistake that is let through, or that ends in an error of torch's or of NumPy's."""
    given = {"model": module(), "images": IMAGES, "labels": LABELS, "attack": "fgsm", "eps": EPS, **change}
    with pytest.raises(error, match=message):
        edgerkd.attack(given.pop("model"), given.pop("images"), given.pop("labels"), **given)


MADE = partial(edgerkd.make_bundle, "mine.onnx", "data.npz", eps=EPS, attack=None)
VERIFIED = partial(edgerkd.verify_bundle, "bundles/mine", backend="onnx")


@pytest.mark.parametrize(
    ("call", "given", "message"),
    [
        (MADE, {"n": -5}, "n: -5, and it is a whole number from 1"),
        (MADE, {"n": 0}, "n: 0"),
        (MADE, {"n": 1.5}, "n: 1.5"),
        (MADE, {"seed": -1}, "seed: -1"),
        (MADE, {"seed": 1.5}, "seed: 1.5"),
        (MADE, {"attack": 3}, "attack: 3 is no text"),
        (partial(edgerkd.make_bundle, "mine.onnx"), {"data": None}, "data: None is no text"),
        (MADE, {"precision": "fp8"}, "no precision named 'fp8'"),
        (MADE, {"precision": "INT8"}, "no precision named 'INT8'"),
        (MADE, {"min_robust": True}, "min_robust: True is no share"),
        (MADE, {"min_clean": "0.4"}, "min_clean: '0.4' is no share"),
        (MADE, {"profiles": "jetson-orin"}, "profiles: 'jetson-orin' is one, and several are expected"),
        (MADE, {"out": ""}, "is empty"),
        (MADE, {"out": "."}, "out: .: write the name of a new folder"),
        (MADE, {"out": "x" * 300}, "no folder can have this name"),
        (MADE, {"sign": "~nobody-there/key.pem"}, "there is no such user"),
        (MADE, {"precision": None}, "precision: None is no text"),
        (MADE, {"format": 3}, "format: 3 is no text"),
        (MADE, {"norm": 3}, "norm: 3 is no text"),
        (MADE, {"min_clean": np.array([0.5, 0.6])}, "is no share"),
        (VERIFIED, {"backend": 3}, "backend: 3 is no text"),
        (VERIFIED, {"variant": 3}, "variant: 3 is no text"),
        (VERIFIED, {"trust": None}, "trust: None is one"),
        (VERIFIED, {"trust": b"abc"}, "trust: b'abc' is one"),
        (VERIFIED, {"n": 5}, "n: it is about images of your own"),
        (VERIFIED, {"n": 0, "data": "data.npz"}, "n: 0"),
        (VERIFIED, {"seed": -1}, "seed: -1"),
        (VERIFIED, {"measure": True, "min_robust": 0.9}, "they ask for a verdict"),
        (VERIFIED, {"attack": None, "min_clean": 0.9}, "they ask for a verdict"),
        (VERIFIED, {"attack": None, "full": True}, "full: it is about attacks"),
        (VERIFIED, {"trust": "signing-key.pub"}, "trust: 'signing-key.pub' is one"),
        (VERIFIED, {"expect_sha256": "abc"}, "expect_sha256: 'abc', and a SHA-256 has 64"),
        (edgerkd.distill_student, {"settings": "lr=0.1"}, "settings: 'lr=0.1' is one"),
        (edgerkd.distill_student, {"epochs": 0}, "epochs: 0"),
        (edgerkd.distill_student, {"folder": "."}, "folder: .: write the name of a new folder"),
    ],
)
def test_what_the_command_line_refuses_a_program_cannot_give(call, given, message, graph: Path, workdir: Path) -> None:
    """Catches an argument that is ignored, taken for another one, or ends in an error of Python's own."""
    shutil.copy(graph, workdir / "mine.onnx")
    write_test_data(workdir / "data.npz")
    if call is VERIFIED:
        MADE(n=5)
    before = sorted(workdir.rglob("*"))
    with pytest.raises(EdgerkdError, match=re.escape(message)):
        call(**given)
    assert sorted(workdir.rglob("*")) == before


def test_a_path_in_the_users_home_is_read_and_written_there(graph: Path, workdir: Path, monkeypatch) -> None:
    """Catches a folder that is called `~`, which nobody dares to remove."""
    monkeypatch.setenv("HOME", str(workdir / "home"))
    shutil.copy(graph, workdir / "mine.onnx")
    write_test_data(workdir / "data.npz")
    made = MADE(out="~/made", n=5)
    assert made.path == workdir / "home" / "made"
    assert edgerkd.verify_bundle("~/made", attack=None, engines="~/built", backend="onnx").verdict == "measured"
    assert (workdir / "home" / "built").is_dir()
    assert not (workdir / "~").exists()


@pytest.mark.parametrize("name", ["min_clean", "min_robust"])
def test_a_threshold_that_is_no_share_is_refused_and_the_bundle_that_was_there_stays(
    name: str, graph: Path, workdir: Path
) -> None:
    """Catches a good bundle that is replaced by one which nothing can read."""
    data = write_test_data(workdir / "data.npz")
    made = edgerkd.make_bundle(graph, data, eps=EPS, attack=None, min_robust=0.05)
    with pytest.raises(ConfigError, match=rf"{name}: 40 is no share"):
        edgerkd.make_bundle(graph, data, eps=EPS, attack=None, **{name: 40})
    assert read_bundle(made.path).manifest == made.manifest


def test_a_graph_of_another_shape_is_refused_by_name(graph: Path) -> None:
    """Catches images that a runtime refuses in its own words."""
    with pytest.raises(EdgerkdError, match=r"mine\.onnx"):
        edgerkd.attack(graph, np.zeros((2, 1, 5, 5), np.float32), [0, 1], eps=EPS)


def write_test_data(path: Path) -> Path:
    """An .npz file with nothing to train on."""
    np.savez(path, x_test=PIXELS[:, 0, :, :, None], y_test=LABELS)
    return path


@pytest.mark.slow
def test_a_bundle_is_made_and_verified_from_python(graph: Path, workdir: Path) -> None:
    """Catches an argument of ours that does not reach the job: gates, radius, name, backend, place of engines."""
    data = write_test_data(workdir / "data.npz")
    bundle = edgerkd.make_bundle(graph, data, eps=EPS, min_robust=0.05, format="onnx", n=40)
    assert bundle.path == Path("bundles/mine")
    assert str(bundle.manifest.threat_model) == "Linf 12/255"
    assert bundle.manifest.format == "onnx"
    assert bundle.manifest.requirement is not None
    assert bundle.manifest.requirement.min_robust_acc == 0.05
    found = edgerkd.verify_bundle(bundle, min_robust=0.05, backend="onnx", engines=workdir / "built")
    assert found.verdict == "pass"
    assert found.clean_acc.n <= 40
    assert (workdir / "built").is_dir()
    assert not (workdir / "bundles" / "engines").exists()
    assert edgerkd.verify_bundle("bundles/mine", min_robust=0.999).verdict == "fail"
    assert edgerkd.verify_bundle(Path("bundles/mine"), measure=True).verdict == "measured"
    assert edgerkd.read_report("bundles/mine/manifest.json") == bundle.manifest


def test_a_bundle_without_gates_is_not_judged(graph: Path, workdir: Path) -> None:
    """Catches a verdict on thresholds that nobody gave."""
    data = write_test_data(workdir / "data.npz")
    bundle = edgerkd.make_bundle(graph, data, eps=EPS, attack=None, profiles=("x86-cpu",), out=workdir / "plain")
    assert bundle.path == workdir / "plain"
    assert [profile.name for profile in bundle.manifest.profiles] == ["x86-cpu"]
    assert bundle.manifest.reference is None
    with pytest.raises(MissingGatesError):
        edgerkd.verify_bundle(bundle)


CARD = TeacherCard(
    name="toy",
    dataset="digits",
    data_sha256="d1" * 32,
    origin="made up",
    architecture=samples.architecture((4, 8)),
    threat_model=samples.THREAT,
    n=67,
    clean_acc=samples.accuracy(61, 67),
    robust_acc=samples.accuracy(41, 67),
    by_class=samples.BY_CLASS,
    weights_sha256="7e" * 32,
)
ENGINE = EngineRecord(
    backend="onnx",
    variant="fp32",
    manifest_sha256="ab" * 32,
    engine_sha256="cd" * 32,
    twin_sha256="ef" * 32,
    log=BuildLog(),
)
EXAMINATION = Examination(
    edgerkd="0.0.7",
    machine=Machine(python="3.11.2", system="Linux", cpu="a CPU", cores=2, memory_bytes=1 << 30),
    gpus=(),
    jetson=None,
    packages={"numpy": "2.4.6"},
    backends=(),
    host=False,
    problems=(),
)
FACTS = samples.facts()
REPORTS: dict[str, Record] = {
    "evaluation": FACTS.student or FACTS,
    "verification": samples.verification("pass"),
    "comparison": Comparison(
        first=samples.evaluation("one", samples.STUDENT_COST, 771, (722, 716, 713)),
        second=samples.evaluation("two", samples.STUDENT_COST, 771, (722, 716, 713)),
        clean=paired([1, 0, 1], [1, 1, 0]),
        robust=paired([1, 0, 1], [0, 0, 0]),
        flags=(),
    ),
    "curve": samples.curve(),
    "variance gap": samples.variance_gap(),
    "run": samples.RECORD,
    "teacher": CARD,
    "engine": ENGINE,
    "doctor": EXAMINATION,
    "report": FACTS,
}


@pytest.mark.parametrize("kind", REPORTS)
def test_every_report_is_read_as_the_record_that_it_was(kind: str, tmp_path: Path) -> None:
    """Catches two kinds that are taken for each other, and one that is written and cannot be read."""
    path = tmp_path / "some file.json"
    path.write_text(encode_json(REPORTS[kind]))
    found = edgerkd.read_report(path)
    assert type(found) is type(REPORTS[kind])
    assert found == REPORTS[kind]


@pytest.mark.slow
def test_every_record_with_a_schema_can_be_read_or_is_ours_alone() -> None:
    """Catches a new kind of report that read_report does not know."""
    inner = {"CacheRecord", "Training", "Profile"}  # two of the cache, and what a person writes, in TOML
    rooms = ("core", "report", "verify", "data", "distill")
    code = f"""
import importlib, pkgutil, edgerkd
from edgerkd.core.record import Record
for room in {rooms!r}:
    package = importlib.import_module(f"edgerkd.{{room}}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"edgerkd.{{room}}.{{module.name}}")
def below(cls):
    return {{cls}}.union(*map(below, cls.__subclasses__()))
print(*sorted(each.__name__ for each in below(Record) if each.SCHEMA is not None and each is not Record))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) - inner == {kind.__name__ for kind in api._kinds()}


def test_a_runs_folder_is_read_as_a_whole(tmp_path: Path) -> None:
    """Catches a run of which a part is left out: its epochs, its verification."""
    run = samples.written(FACTS, tmp_path / "toy-run")
    found = edgerkd.read_report(run.path)
    assert found == replace(FACTS, manifest_sha256=None)


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", "3", "null", "{", "", '{"schema": 1}', '{"a": 1}', "\udc80", "[" * 10_000],
)
def test_what_is_no_report_is_refused_by_name(text: str, tmp_path: Path) -> None:
    """Catches foreign JSON that is taken for a report, or that ends in an error of json's own."""
    path = tmp_path / "foreign.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ArtefactError, match=r"foreign\.json: this is not a report of edgerkd"):
        edgerkd.read_report(path)


def test_a_report_of_another_version_or_damaged_is_refused(tmp_path: Path) -> None:
    """Catches numbers that are read although they mean something else."""
    path = tmp_path / "report.json"
    data = json.loads(encode_json(REPORTS["verification"]))
    path.write_text(json.dumps({**data, "schema": 99}))
    with pytest.raises(ArtefactError, match="schema 99"):
        edgerkd.read_report(path)
    path.write_text(json.dumps({**data, "seed": "x"}))
    with pytest.raises(ArtefactError, match="seed"):
        edgerkd.read_report(path)
    with pytest.raises(ArtefactError, match="no such file"):
        edgerkd.read_report(tmp_path / "nowhere.json")


def test_importing_edgerkd_imports_nothing_heavy() -> None:
    """Catches a slow `import edgerkd`: a package, or one of our own rooms, before anything is used."""
    names = ("torch", "onnx", "onnxruntime", "numpy", "pydantic", "typer", "rich")
    code = f"import sys, edgerkd; print(*[n for n in sys.modules if n in {names!r} or n.startswith('edgerkd.')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("use", "unwanted"),
    [
        ("edgerkd.attack('mine.onnx', images, [0, 1], eps='1/255', attack='fgsm')", ("torch",)),
        ("edgerkd.attack(Toy(), images, [0, 1], eps='1/255', attack='fgsm')", ("torch", "onnx", "onnxruntime")),
        ("edgerkd.read_report", ("torch", "onnx", "numpy", "pydantic")),
    ],
)
def test_what_is_used_imports_what_it_needs_alone(use: str, unwanted: tuple[str, ...], graph: Path) -> None:
    """Catches torch that is needed to attack an ONNX file, and onnx to attack anything else."""
    code = f"""
import sys, edgerkd
class Toy:
    def logits(self, images): return images.reshape(len(images), 16) @ weight
    def gradient(self, images, cotangent):
        logits = self.logits(images)
        return logits, (cotangent(logits) @ weight.T).reshape(images.shape)
if {"attack" in use}:
    import numpy as np
    images, weight = np.full((2, 1, 4, 4), 0.5, np.float32), np.eye(16, 3, dtype=np.float32)
{use}
print(*[name for name in {unwanted!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=graph.parent, check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_the_names_are_listed() -> None:
    """Catches a name that help() and completion do not show, and one that is promised and missing."""
    assert {"attack", "make_bundle", "verify_bundle", "distill_student", "read_report"} <= set(dir(edgerkd))
    for name in edgerkd.__all__:
        assert getattr(edgerkd, name)
    with pytest.raises(AttributeError, match="attak"):
        getattr(edgerkd, "attak")  # noqa: B009  a name that is missing, which is the point


@pytest.mark.slow
def test_a_student_is_distilled_from_python(workdir: Path) -> None:
    """Catches an argument of ours that does not reach the job."""
    run, evaluation = edgerkd.distill_student(epochs=1, eps="16/255", settings=("batch=256",), folder=workdir / "mine")
    assert run.path == workdir / "mine"
    assert str(evaluation.threat_model) == "Linf 16/255"
    facts = edgerkd.read_report(run.path)
    assert isinstance(facts, Facts)
    assert facts.record.recipe.epochs == 1
    assert facts.student == evaluation
