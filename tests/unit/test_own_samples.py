"""What the verifier brings in place of the bundle's: images, radius, profile; and what no attack has seen."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edgerkd.attacks.words import flag_words
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import read_bundle
from edgerkd.core.conditions import Conditions
from edgerkd.core.data_request import DataRequest, Preprocessing
from edgerkd.core.engine import DeviceRecord
from edgerkd.core.errors import ConfigError, MissingGatesError
from edgerkd.core.profile import Budget
from edgerkd.core.progress import Silent
from edgerkd.core.requirement import Requirement
from edgerkd.core.units import Radius
from edgerkd.core.verification import VerifyReport
from edgerkd.files.decode import encode_json
from edgerkd.files.profiles import load_profile
from edgerkd.jobs.own_samples import load_own_samples
from edgerkd.report.table import verification_text
from edgerkd.report.words import reasons
from edgerkd.verify import latency
from edgerkd.verify.distinct import near
from edgerkd.verify.isolated import IsolatedEngine
from edgerkd.verify.own import Brought, OwnSamples
from edgerkd.verify.plain import ask
from edgerkd.verify.run import verify
from edgerkd.verify.session import open_session
from tests.believed import pgd_believed
from tests.graph_bundles import CLASSES, EPS, bars, by_heart, fragile, honest, write_graph_bundle

HALF = Requirement(min_clean_acc=0.5, min_robust_acc=0.5)
STORED = bars(60, seed=0)
FRESH = bars(80, seed=1)


def own(pixels=FRESH[0], labels=FRESH[1], **changes) -> Brought:
    return Brought(samples=OwnSamples(data="own", pixels=pixels, labels=labels, of=len(labels), seed=7), **changes)


def run(folder: Path, tmp_path: Path, **changes) -> VerifyReport:
    given = {"engines": tmp_path / "engines", "requirement": HALF, "backend": "onnx", "attack": "pgd", **changes}
    with pgd_believed():
        return verify(read_bundle(folder), **given, progress=Silent())


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bundles")
    graphs = {"honest": honest(), "fragile": fragile(), "by heart": by_heart(*STORED)}
    return {name: write_graph_bundle(root / name / "bundle", graph, *STORED) for name, graph in graphs.items()}


@pytest.mark.slow
def test_an_engine_that_knows_its_images_by_heart_fails_on_others(bundles, tmp_path):
    """Catches own samples that are not the ones attacked: on the bundle's images this engine resists everything."""
    learned = run(bundles["by heart"], tmp_path)
    assert learned.robust_acc.value == 1.0
    found = run(bundles["by heart"], tmp_path, brought=own(), requirement=Requirement(min_robust_acc=0.7))
    assert found.parity.ok
    assert (found.verdict, found.clean_acc.value) == ("fail", 1.0)
    assert found.robust_acc.high < 0.7
    assert run(bundles["honest"], tmp_path, brought=own()).verdict == "pass"


def test_what_was_judged_and_who_brought_it_is_recorded(bundles, tmp_path):
    """Catches own samples that are shown as the bundle's, without the seed they were drawn by."""
    found = run(bundles["honest"], tmp_path, brought=own())
    judged = found.samples
    assert (judged.source, judged.data, judged.n, judged.of, judged.seed) == ("verifier", "own", 80, 80, 7)
    assert found.judged.of == found.plain.engine_acc.n == 80
    assert found.parity.n == 60, "parity is on the images whose answers are stored"
    assert found.origins.fields["samples"] == "brought"
    assert found.origins.thresholds == {"clean_acc": "verifier", "robust_acc": "verifier"}
    assert "brought by the verifier, drawn from 80 by seed 7" in verification_text(found)
    theirs = run(bundles["honest"], tmp_path)
    assert (theirs.samples.source, theirs.samples.seed) == ("bundle", None)
    assert theirs.origins.fields["samples"] == "claimed"
    assert theirs.samples.sha256 != judged.sha256


def test_images_of_the_bundle_do_not_count_as_ones_own(bundles, tmp_path):
    """Catches a bundle's own images, a little changed, that are brought as if they were others."""
    moved = STORED[0] ^ 1
    pixels, labels = np.concatenate([moved, FRESH[0]]), np.concatenate([STORED[1], FRESH[1]])
    found = run(bundles["honest"], tmp_path, brought=own(pixels, labels))
    assert (found.samples.stored, found.samples.n) == (60, 80)
    assert any("60 of the images brought are within the radius" in flag_words(flag) for flag in found.notices)
    with pytest.raises(ConfigError, match=r"all 60 images drawn are within the radius 16/255 of images in the bundle"):
        run(bundles["honest"], tmp_path, brought=own(moved, STORED[1]))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_near_images_are_those_that_brute_force_finds(norm):
    """Catches a screen that lets an image of the bundle pass for another, and one that calls any two near."""
    generator = np.random.default_rng(0)
    there = generator.random((20, 3, 9, 9), np.float32)
    images = np.concatenate([generator.random((9, 3, 9, 9), np.float32), there[:9]])
    images[9:] += (
        generator.uniform(-1, 1, (9, 3, 9, 9)).astype(np.float32) * np.linspace(0.01, 0.2, 9)[:, None, None, None]
    )
    eps = 0.1 if norm == "Linf" else 1.0
    moved = (images[:, None] - there[None]).reshape(len(images), len(there), -1)
    copies = (np.abs(moved) > eps).mean(2) <= 0.05 if norm == "Linf" else np.sqrt(np.square(moved).sum(2)) <= eps
    assert_array_equal(near(images, there, eps=eps, norm=norm), copies.any(1))
    assert 0 < near(images, there, eps=eps, norm=norm).sum() < 9


def with_host(bundle: Path, folder: Path, tmp_path: Path) -> Path:
    """The bundle as if its host had attacked it by nothing."""
    from edgerkd.bundle.samples import StoredSamples
    from edgerkd.bundle.write import make_variant, write_bundle
    from edgerkd.core.requirement import ReferenceResult
    from edgerkd.verify.graph import reference_of_graph

    found = read_bundle(bundle)
    samples, _ = found.samples(found.manifest.variants[0])
    graph, twin = ((bundle / name).read_bytes() for name in ("fp32.onnx", "fp32.twin.onnx"))
    attacked = StoredSamples(
        pixels=samples.pixels,
        labels=samples.labels,
        images_adv=samples.images,
        host_robust=np.ones(len(samples), np.bool_),
    )
    result = run(bundle, tmp_path, measure=True)
    reference = ReferenceResult(
        clean_acc=result.clean_acc,
        robust_acc=result.clean_acc,
        attacks=("PGD",),
        teacher_clean_acc=result.clean_acc,
        teacher_robust_acc=result.clean_acc,
    )
    made = make_variant("fp32", graph=graph, twin=twin, reference=reference_of_graph(graph, attacked))
    manifest = replace(found.manifest, variants=(), reference=reference, profiles=(load_profile("x86-cpu"),))
    write_bundle(folder, manifest, variants=[made], samples=attacked)
    return folder


@pytest.mark.slow
def test_what_the_host_held_counts_on_its_own_images_within_its_own_radius_alone(bundles, tmp_path):
    """Catches retention over images that the host never saw, or at a radius at which it was never attacked, and gates
    that were set for another radius.
    """
    folder = with_host(bundles["honest"], tmp_path / "hosted", tmp_path)
    plain = run(folder, tmp_path)
    assert [gate.gate for gate in plain.gates] == ["clean_acc", "robust_acc", "retention"]
    assert plain.rows[1].source == "replay"
    for brought, replayed in (
        (own(), False),
        (Brought(eps=Radius("20/255")), True),
        (Brought(eps=Radius("8/255")), False),
    ):
        found = run(folder, tmp_path, brought=brought)
        assert found.retention is None
        assert [gate.gate for gate in found.gates] == ["clean_acc", "robust_acc"]
        assert ("replay" in {row.source for row in found.rows}) is replayed
        assert found.threat_model.eps == (brought.eps or EPS)
        assert any("retention is not judged" in line for line in verification_text(found).splitlines())
    with pytest.raises(MissingGatesError, match="another radius than the bundle's"):
        run(folder, tmp_path, brought=Brought(eps=Radius("20/255")), requirement=Requirement(min_clean_acc=0.1))
    smaller = run(folder, tmp_path, brought=Brought(eps=Radius("8/255")))
    assert any("the radius 8/255 is below the bundle's 16/255" in flag_words(flag) for flag in smaller.notices)
    assert smaller.origins.fields["threat_model"] == "brought"


@pytest.mark.slow
def test_a_profile_of_ones_own_counts_before_the_bundles_and_its_makers(bundles, tmp_path):
    """Catches a file that is looked for among the bundle's names, and a maker who overrules the verifier."""
    folder = with_host(bundles["honest"], tmp_path / "hosted", tmp_path)
    written = (Path(__file__).parents[2] / "profiles" / "x86-cpu.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(written.replace('"x86-cpu"', '"mine"').replace("retention = 0.95", "retention = 0.5"))
    found = run(folder, tmp_path, profile=str(path), requirement=None)
    assert found.target is not None
    assert (found.target.profile, found.requirement.min_retention) == ("mine", 0.5)
    asked = found.origins.thresholds
    assert (asked["retention"], asked["params"], asked["robust_acc"]) == ("verifier", "verifier", "teacher")
    assert found.origins.fields["target"] == "brought"
    assert "teacher (claim)" in verification_text(found)


def test_without_an_attack_there_are_figures_and_nothing_judged(bundles, tmp_path):
    """Catches a robust accuracy that nobody measured, a gate that is judged, and an attack that runs all the same."""
    heard: list[float] = []
    found = run(bundles["fragile"], tmp_path, attack=None, heard=lambda plain: heard.append(plain.engine_acc.value))
    assert (found.verdict, found.rows, found.gates, found.robust_acc.n) == ("measured", (), (), 0)
    assert heard == [found.clean_acc.value] == [1.0]
    assert found.gradients.points == 0
    assert reasons(found) == ()
    said = verification_text(found)
    assert said.startswith("accuracy of the engine: 100.0%")
    assert "robust" not in said.partition("MEASURED")[0]
    assert "slope" not in said
    assert {each.name for each in found.by_class.classes} == set(CLASSES)
    encode_json(found)


class Elsewhere:
    """An engine behind a mistake: what it is shown is changed before."""

    def __init__(self, live, change) -> None:
        self.live, self.change = live, change

    def __call__(self, *inputs):
        return self.live(np.ascontiguousarray(self.change(inputs[0]), np.float32), *inputs[1:])

    def __getattr__(self, name):
        return getattr(self.live, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self.live.__exit__(*error)


@pytest.mark.parametrize(
    ("change", "way"),
    [
        (lambda x: 1 - x, "inverted"),
        (lambda x: x / 255, "multiplied by 255"),
        (lambda x: x.transpose(0, 1, 3, 2), "with height and width exchanged"),
        (lambda x: np.roll(x, 3, axis=3), None),
    ],
)
def test_images_prepared_otherwise_are_the_cause_that_is_named(bundles, tmp_path, change, way):
    """Catches an engine fed with pixels of another range, which looks like a worse network, and a cause invented."""
    with open_session(
        read_bundle(bundles["honest"]), engines=tmp_path, profile=None, backend="onnx", variant=None
    ) as session:
        live = Elsewhere(session.live, change)
        answer = ask(replace(session, live=live, facts=replace(session.facts, sha256="0" * 64)))
    assert answer.model is not None
    assert [flag.facts.get("way") for flag in answer.causes] == ([] if way is None else [way])
    assert answer.model.model_acc.value == 1.0


def test_an_engine_of_other_weights_is_found_out_and_the_layer_named(bundles, tmp_path):
    """Catches a customer's engine that is less accurate than the model, and nobody says where."""
    folder = write_graph_bundle(tmp_path / "brings", honest(), *STORED, brought=fragile())
    found = run(folder, tmp_path, attack=None, backend=None)
    assert found.verdict == "fail"
    assert not found.parity.ok
    assert found.plain.layer is not None
    assert (found.plain.layer.layer, found.plain.layer.kind) == ("logits", "MatMul")


@pytest.mark.slow
def test_an_unsteady_latency_meets_no_limit(bundles, tmp_path, monkeypatch):
    """Catches a latency that was measured while the machine was slowed down, and meets its limit all the same."""
    asked = replace(HALF, budget=Budget(latency_ms=1e6, latency_p99_ms=1e6, energy_mj=1e9))
    calm = run(bundles["honest"], tmp_path, requirement=asked)
    assert [(limit.limit, limit.ok) for limit in calm.budget if limit.limit != "energy_mj"] == [
        ("latency_ms", True),
        ("latency_p99_ms", True),
    ]
    usual = IsolatedEngine.timing

    def slowed(self, images):
        times, timing = usual(self, images)
        return times, replace(timing, after=Conditions(held_back=("cpufreq-cpu0",)))

    monkeypatch.setattr(IsolatedEngine, "timing", slowed)
    found = run(bundles["honest"], tmp_path, requirement=asked)
    assert {limit.ok for limit in found.budget if limit.limit != "energy_mj"} == {None}
    assert found.verdict == "inconclusive"
    assert any("the machine was slowed down (cpufreq-cpu0)" in reason for reason in reasons(found))
    assert run(bundles["honest"], tmp_path).verdict == "pass as claimed", "no latency is asked for"


def test_warming_up_ends_when_two_tens_take_as_long(monkeypatch):
    """Catches a warm-up that never ends, one that ends while runs still become faster, and figures of cold runs."""
    medians = iter([9.0, 5.0, 3.0, 2.95])
    monkeypatch.setattr(latency, "_milliseconds", lambda engine, images, runs: np.full(runs, next(medians)))
    assert latency.warm_up(None, np.zeros((1, *FRESH[0].shape[1:]))) == (40, True)
    falling = iter(2.0 ** -np.arange(99))
    monkeypatch.setattr(latency, "_milliseconds", lambda engine, images, runs: np.full(runs, next(falling)))
    assert latency.warm_up(None, np.zeros((1, *FRESH[0].shape[1:]))) == (200, False)


def test_the_device_alone_is_timed_where_the_backend_can_tell(bundles, tmp_path):
    """Catches a time of the device that is asked of a backend which has none, and one that is never asked."""
    live = load_backend("onnx").open(bundles["honest"] / "fp32.onnx")

    class Timed:
        backend, version, device = "timed", "1", DeviceRecord(kind="cpu", name="toy")

        def __call__(self, *inputs):
            return live(*inputs)

        def device_ms(self, *inputs) -> float:
            return 0.25

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    images = np.zeros((1, *FRESH[0].shape[1:]), np.float32)
    _, timed = latency.measure_timing(Timed(), images, root=tmp_path)
    assert timed.device_ms is not None
    assert (timed.device_ms.p50, timed.device_ms.p99) == (0.25, 0.25)
    assert latency.measure_timing(live, images, root=tmp_path)[1].device_ms is None


def save(path: Path, **arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


FLAT = FRESH[0][:, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x_test": FLAT[:, :6], "y_test": FRESH[1]},
            r"its images are 8x6 grey, and the bundle's model takes 8x8 grey",
        ),
        ({"x_test": np.stack([FLAT] * 3, -1), "y_test": FRESH[1]}, r"8x8 colour, .*takes 8x8 grey"),
        ({"x_test": FLAT, "y_test": FRESH[1] + 3}, r"labels reach 5, and the bundle's model has 3 classes, 0 to 2"),
        ({"x_test": FLAT, "y_test": FRESH[1] - 1}, r"A label in y_test is -1"),
        (
            {"x_test": FLAT, "y_test": FRESH[1], "class_names": np.asarray(["left", "up", "right"])},
            r"no class named up: it knows left, middle, right",
        ),
        ({"x_test": FLAT[:0], "y_test": FRESH[1][:0]}, r"there are no images in it"),
        ({"x_test": FLAT, "y_test": FRESH[1][:-1]}, r"80 images and y_test 79 labels"),
        ({"x_test": np.where(FLAT > 200, np.nan, FLAT / 255), "y_test": FRESH[1]}, r"NaN or infinite values"),
        ({"x_test": FLAT.astype(np.int32) + 200, "y_test": FRESH[1]}, r"int32, from 2\d\d to 420"),
        ({"x_test": FLAT / 255 * 2 - 1, "y_test": FRESH[1]}, r"write \(x_test \+ 1\) / 2"),
        ({"x_train": FLAT, "y_train": FRESH[1]}, r"no array named x_test, y_test"),
    ],
    ids=["size", "colour", "labels", "negative", "names", "empty", "lengths", "nan", "range", "moved", "train"],
)
def test_images_that_are_not_the_models_get_one_clear_error(bundles, tmp_path, arrays, message):
    """Catches labels of other classes, images of another size or range, and nonsense that reaches the engine."""
    request = DataRequest(source=save(tmp_path / "own.npz", **arrays))
    with pytest.raises(ConfigError, match=message):
        load_own_samples(request, read_bundle(bundles["honest"]).manifest, n=50, seed=0, progress=Silent())


def load(bundle: Path, source: str, **given) -> OwnSamples:
    return load_own_samples(
        DataRequest(source=source), read_bundle(bundle).manifest, **{"n": 500, "seed": 0, **given}, progress=Silent()
    )


def test_classes_go_by_name_and_a_missing_one_is_no_error(bundles, tmp_path):
    """Catches labels taken in the data's own order, which is the alphabet's for folders."""
    names = np.asarray(["right", "left", "middle"])
    numbers = np.asarray([names.tolist().index(CLASSES[label]) for label in FRESH[1]])
    named = load(bundles["honest"], save(tmp_path / "a.npz", x_test=FLAT, y_test=numbers, class_names=names))
    plain = load(bundles["honest"], save(tmp_path / "b.npz", x_test=FLAT, y_test=FRESH[1]))
    assert_array_equal(named.labels, plain.labels)
    assert_array_equal(named.pixels, plain.pixels)
    assert run(bundles["honest"], tmp_path, brought=Brought(samples=named)).clean_acc.value == 1.0
    some = FRESH[1] != 1
    source = save(tmp_path / "c.npz", x_test=FLAT[some], y_test=FRESH[1][some])
    found = run(bundles["honest"], tmp_path, brought=Brought(samples=load(bundles["honest"], source)))
    assert found.by_class.missing == ("middle",)
    assert "no image of middle" in verification_text(found)


def test_no_more_are_drawn_than_asked_by_a_seed_of_the_verifiers(bundles, tmp_path):
    """Catches the first images of a file, which a bundle's maker could foresee, and a number that is ignored."""
    source = save(tmp_path / "own.npz", x_test=FLAT, y_test=FRESH[1])
    first, again, other = (load(bundles["honest"], source, n=12, seed=seed) for seed in (1, 1, 2))
    assert len(first.labels) == 12
    assert_array_equal(first.pixels, again.pixels)
    assert (first.pixels != other.pixels).any()
    assert (first.of, first.seed) == (80, 1)


def test_pictures_are_prepared_as_the_bundle_says(bundles, tmp_path):
    """Catches pictures of another size that are refused, or resized in another way than the model was trained on."""
    image = pytest.importorskip("PIL.Image")
    for label, name in enumerate(CLASSES):
        (tmp_path / "own" / name).mkdir(parents=True)
        for row in np.flatnonzero(FRESH[1] == label)[:4]:
            picture = image.fromarray(np.kron(FRESH[0][row, 0], np.ones((2, 2), np.uint8)))
            picture.save(tmp_path / "own" / name / f"{row}.png")
    manifest = read_bundle(bundles["honest"]).manifest
    prepared = replace(manifest, preprocessing=Preprocessing(size=(8, 8), fit="crop", alpha="refuse", channels=1))
    found = load_own_samples(DataRequest(source=str(tmp_path / "own")), prepared, n=500, seed=0, progress=Silent())
    assert found.pixels.shape == (12, 1, 8, 8)
    with pytest.raises(ConfigError, match="its images are 16x16 grey"):
        load(bundles["honest"], str(tmp_path / "own"))
    arrays = save(tmp_path / "arrays.npz", x_test=FLAT, y_test=FRESH[1])
    asked = DataRequest(source=arrays)
    assert len(load_own_samples(asked, prepared, n=9, seed=0, progress=Silent()).labels) == 9


def test_own_samples_load_without_torch_or_onnx(bundles, tmp_path):
    """Catches an import that a device cannot satisfy."""
    source = save(tmp_path / "own.npz", x_test=FLAT, y_test=FRESH[1])
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'torchvision', 'onnx', 'sklearn', 'safetensors')))\n"
        "from edgerkd.cli.main import main\n"
        f"sys.argv = ['edgerkd', 'verify', {str(bundles['honest'])!r}, '--data', {source!r}, '-n', '20',"
        f" '--measure', '--attack', 'fgsm', '--backend', 'onnx', '--out', {str(tmp_path / 'found.json')!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["samples"]["source"], found["samples"]["n"]) == ("verifier", 20)
    assert found["origins"]["fields"]["samples"] == "brought"
    assert set(found["origins"]["fields"]) == {field.name for field in fields(VerifyReport)}
