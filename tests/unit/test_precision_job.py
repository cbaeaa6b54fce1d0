"""Which precision an export takes, and what it says of those that it does not."""

import platform
import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edgerkd.attacks.suite import attacks_of
from edgerkd.bundle.read import read_bundle
from edgerkd.bundle.samples import StoredSamples
from edgerkd.core.errors import ArtefactError, DivergedError, ExportError
from edgerkd.core.precision import RETENTION, Retention
from edgerkd.core.profile import Device
from edgerkd.core.progress import Silent
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.files.profiles import load_profile
from edgerkd.graphs.precision.int8 import layers
from edgerkd.graphs.precision.search import Ranking, margins_of
from edgerkd.jobs import export as export_job
from edgerkd.jobs import graph_attack
from edgerkd.jobs import precision as job
from edgerkd.jobs.precision import (
    FloatModel,
    allowed_loss,
    check_precision,
    choose,
    faster_precisions,
    retention_of,
    try_precision,
)
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.report.words import precision_lines, search_words
from edgerkd.verify.build import choose_backend
from edgerkd.verify.graph import graph_logits
from edgerkd.verify.run import verify
from tests.listening import Listening
from tests.runs import write_run_to_export
from tests.zoo import THREAT, network

N = 24
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 1, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> FloatModel:
    """A network that resists all of its images, as far as its own, tiny attack was shown."""
    graph = onnx_from_network(network(seed=1))
    scaled = np.divide(IMAGES, 255, dtype=np.float32)
    labels = graph_logits(graph, scaled).argmax(1)
    samples = StoredSamples(pixels=IMAGES, labels=labels, images_adv=scaled, host_robust=np.ones(N, np.bool_))
    return FloatModel(
        graph=graph,
        samples=samples,
        calibration=scaled,
        attacks=attacks_of("fgsm"),
        threat_model=THREAT,
        seed=0,
    )


@pytest.fixture
def few_will_do(monkeypatch):
    """So few images as are here are let through, to whatever is said of the retention."""
    monkeypatch.setattr(job, "_least", lambda: 1)


def test_auto_attacks_nothing_where_too_few_images_resist_in_float32(model, monkeypatch):
    """Catches minutes of attacks whose end is known before, and a reader who is not told how many images it takes."""
    monkeypatch.setattr(job, "try_precision", None)
    progress = Listening()
    assert choose(model, "auto", faster=("int8", "fp16"), placement="signed", progress=progress).tried == ()
    (said,) = progress.lines
    least = int(re.search(r"fewer than (\d+) cannot show", said)[1])
    assert allowed_loss(least) == 0
    assert allowed_loss(least - 1) is None
    assert f"{N} of {N} images resist" in said
    assert "-n" in said


def device(**rates: float) -> Device:
    return Device(soc="any", **rates)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({}, ()),
        ({"fp32_tflops": 1.0}, ()),
        ({"fp32_tflops": 1.0, "fp16_tflops": 2.0}, ("fp16",)),
        ({"fp32_tflops": 1.0, "fp16_tflops": 8.0, "int8_tops": 16.0}, ("int8", "fp16")),
        ({"fp32_tflops": 1.0, "fp16_tflops": 1.0, "int8_tops": 0.5}, ()),
        ({"fp32_tflops": 1.0, "fp16_tflops": 8.0, "int8_tops": 4.0}, ("fp16", "int8")),
    ],
)
def test_a_precision_is_tried_where_the_device_is_known_to_be_faster_in_it(rates, expected):
    """Catches int8 on a device without it, and the slower one tried first."""
    assert faster_precisions(device(**rates)) == expected


def held(value: float, low: float, n: int = 100) -> Retention:
    return Retention(n=n, value=value, low=low, high=1.0)


@pytest.mark.usefixtures("few_will_do")
@pytest.mark.parametrize(
    ("retained", "expected"),
    [
        ({"int8": held(1.0, 0.96), "fp16": held(1.0, 0.99)}, ["int8-signed", "int8-unsigned"]),
        ({"int8": held(0.97, 0.96), "fp16": held(1.0, 0.99)}, ["fp16"]),
        ({"int8": held(0.99, 0.94), "fp16": held(1.0, 0.99)}, ["fp16"]),
        ({"int8": held(0.5, 0.4), "fp16": held(0.5, 0.4)}, []),
    ],
)
def test_auto_takes_the_fastest_whose_robustness_holds(model, monkeypatch, retained, expected):
    """Catches a choice by speed alone, by the value without its interval, and a rejection that nobody hears of."""

    def attacked(model, tried, progress):
        return replace(tried, search=replace(tried.search, retention=retained[tried.search.precision]))

    monkeypatch.setattr(job, "attacked", attacked)
    progress = Listening()
    found = choose(model, "auto", faster=("int8", "fp16"), placement="signed", progress=progress)
    names = [each.variant(model.samples).variant.name for each in found.tried]
    assert names == expected
    refused = {search.precision for search in found.rejected}
    assert refused == {name for name in retained if not retained[name].holds and (name != "fp16" or not expected)}
    assert len([line for line in progress.lines if "its robustness does not hold" in line]) == len(refused)


@pytest.mark.usefixtures("few_will_do")
@pytest.mark.parametrize(
    ("retention", "said"),
    [
        (held(0.97, 0.9), "its robustness does not hold"),
        (replace(held(0.99, 0.9), settled_by=400), "too few images resist the attack to say"),
    ],
)
def test_a_refusal_says_whether_robustness_was_lost_or_not_settled(model, monkeypatch, retention, said):
    """Catches too few images that are told as robustness which does not hold."""
    monkeypatch.setattr(
        job, "attacked", lambda model, tried, _: replace(tried, search=replace(tried.search, retention=retention))
    )
    progress = Listening()
    choose(model, "auto", faster=("fp16",), placement="signed", progress=progress)
    assert any(f"fp16 is not taken: {said}" in line for line in progress.lines)


@pytest.mark.parametrize(
    ("asked", "profile", "said"),
    [
        ("int8", "jetson-nano", ["note: jetson-nano is not known to be faster in int8: fp16 is"]),
        ("fp16", "x86-cpu", ["note: x86-cpu is not known to be faster in fp16, nor in any other precision"]),
        ("int8", "jetson-orin", []),
        ("auto", "jetson-nano", []),
    ],
)
def test_a_precision_that_a_device_gains_nothing_from_is_told(asked, profile, said):
    """Catches a device that is given a precision which it is slow in, without a word."""
    progress = Listening()
    check_precision(asked, choose_backend("onnx", ())[0], [load_profile(profile)], progress)
    assert progress.lines == said


@pytest.mark.usefixtures("few_will_do")
def test_a_placement_that_loses_robustness_does_not_come_along(model, monkeypatch):
    """Catches a variant for another backend that rides on the verdict of the first."""

    def attacked(model, tried, progress):
        good = tried.search.placement == "signed"
        return replace(tried, search=replace(tried.search, retention=held(1.0, 0.99) if good else held(0.5, 0.4)))

    monkeypatch.setattr(job, "attacked", attacked)
    found = choose(model, "auto", faster=("int8",), placement="signed", progress=Silent())
    assert [each.search.placement for each in found.tried] == ["signed"]
    assert [search.placement for search in found.rejected] == ["unsigned"]
    found = choose(model, "auto", faster=("int8",), placement="unsigned", progress=Silent())
    assert found.tried == ()


def test_more_layers_stay_in_float32_until_an_attack_agrees(model, monkeypatch):
    """Catches an escalation that tries the same graph again, that has no end, or that stops at the first failure."""
    kept = []

    def attacked(model, tried, progress):
        kept.append(len(tried.search.float_layers))
        return replace(tried, search=replace(tried.search, retention=held(0.9, 0.8)))

    monkeypatch.setattr(job, "attacked", attacked)
    (found,) = try_precision(model, "int8", placements=("signed",), progress=Silent())
    assert kept == [1, 2, 4]
    assert len(found.search.float_layers) == 4
    assert [step.kept for step in found.search.steps] == kept
    assert {each.layer for each in found.search.shifts} >= set(found.search.float_layers)


@pytest.mark.parametrize(
    ("before", "after", "kept", "calls"),
    [
        (held(1.0, 0.99), held(1.0, 0.99), 0, 0),
        (held(0.9, 0.8), held(1.0, 0.99), 3, 1),
        (held(0.9, 0.8), held(0.95, 0.9), 3, 1),
        (replace(held(1.0, 0.9), settled_by=500), held(1.0, 0.99), 0, 0),
    ],
    ids=["it holds", "training helps", "training does not", "too few images"],
)
def test_a_student_is_trained_on_where_its_int8_loses_robustness(model, monkeypatch, before, after, kept, calls):
    """Catches training where nothing was lost or nothing is known, and the untrained graph sold as the trained one."""
    asked = []
    graph = onnx_from_network(network(seed=2))

    def retrain(given, rounding):
        asked.append(rounding)
        assert given == model.graph
        return graph, 3

    def attacked(model, tried, progress):
        return replace(tried, search=replace(tried.search, retention=after if tried.search.trained_epochs else before))

    monkeypatch.setattr(job, "attacked", attacked)
    (found,) = try_precision(replace(model, retrain=retrain), "int8", placements=("signed",), progress=Silent())
    assert (found.search.trained_epochs, len(asked)) == (kept, calls)
    assert found.search.retention == (after if calls else before)
    assert len(found.search.steps) == 1
    if calls:
        assert [layer.rounded for layer in asked[0].layers] == [True] * (len(asked[0].layers) - 1) + [False]
        assert found.search.float_layers == ("logits",)
        logits = graph_logits(found.graph, model.calibration)
        near, far = (np.abs(logits - graph_logits(g, model.calibration)).max() for g in (graph, model.graph))
        assert near < 0.1 * far
        assert "after 3 epochs of training for it" in search_words(found.search)


def test_a_student_is_not_trained_on_where_more_images_would_settle_it(model, monkeypatch):
    """Catches minutes of training for an int8 that lost one image of 154, where 185 would have said so."""
    short = replace(held(0.994, 0.943, n=154), settled_by=185)
    monkeypatch.setattr(
        job, "attacked", lambda model, tried, progress: replace(tried, search=replace(tried.search, retention=short))
    )

    def retrain(graph, rounding):
        raise AssertionError("trained")

    (found,) = try_precision(replace(model, retrain=retrain), "int8", placements=("signed",), progress=Silent())
    assert found.search.retention == short
    assert not found.search.holds


@pytest.mark.parametrize(("after", "epochs"), [(held(1.0, 0.99), 3), (held(0.9, 0.8), 0)])
def test_a_student_is_trained_on_where_half_of_the_layers_would_stay_in_float32(model, monkeypatch, after, epochs):
    """Catches int8 in name alone, and a good variant given up for a training that did not help."""
    trained = []

    def retrain(graph, rounding):
        trained.append(rounding)
        return onnx_from_network(network(seed=2)), 3

    def attacked(model, tried, progress):
        lost = after if tried.search.trained_epochs else held(1.0, 0.99)
        return replace(tried, search=replace(tried.search, retention=lost))

    every = layers(model.graph)
    half = len(every) // 2
    monkeypatch.setattr(job, "attacked", attacked)
    monkeypatch.setattr(Ranking, "choose", lambda self, at_least, allowed: (every[-half:], []))
    (found,) = try_precision(replace(model, retrain=retrain), "int8", placements=("signed",), progress=Silent())
    assert len(trained) == 1
    assert found.search.trained_epochs == epochs
    assert found.search.holds
    assert len(found.search.float_layers) == (1 if epochs else half)


@pytest.mark.parametrize("error", [ArtefactError, ExportError, DivergedError])
def test_a_student_that_cannot_be_trained_keeps_its_variant_and_says_why(model, monkeypatch, error):
    """Catches an export that fails, after its attacks, because of a network that training cannot follow."""

    def retrain(graph, rounding):
        raise error("no step with these values")

    monkeypatch.setattr(
        job,
        "attacked",
        lambda model, tried, progress: replace(tried, search=replace(tried.search, retention=held(0.9, 0.8))),
    )
    progress = Listening()
    (found,) = try_precision(replace(model, retrain=retrain), "int8", placements=("signed",), progress=progress)
    assert not found.search.holds
    assert found.search.trained_epochs == 0
    assert any("int8-signed cannot be trained: no step with these values" in line for line in progress.lines)


def test_retention_says_how_many_images_would_settle_it():
    """Catches an interval that is too wide and reads like a refusal, and a number that would not be enough."""
    few = retention_of(np.ones(30, np.bool_), np.ones(30, np.bool_))
    assert not few.holds
    assert few.value == 1.0
    enough = few.settled_by
    assert enough is not None
    assert retention_of(np.ones(enough, np.bool_), np.ones(enough, np.bool_)).holds
    assert not retention_of(np.ones(enough - 1, np.bool_), np.ones(enough - 1, np.bool_)).holds
    lost = np.arange(1000) >= 30
    assert retention_of(lost, np.ones(1000, np.bool_)).settled_by is None
    assert RETENTION == 0.98


def test_retention_is_of_pairs():
    """Catches a share of all images, and images that only the variant resists left out."""
    host, engine = np.arange(200) < 150, (np.arange(200) >= 5) & (np.arange(200) < 153)
    found = retention_of(engine, host)
    assert (found.n, found.value) == (150, 148 / 150)
    assert found.low < found.value < found.high
    nothing = np.zeros(100, np.bool_)
    found = retention_of(nothing, nothing)
    assert (found.value, found.low, found.high, found.holds) == (0.0, 0.0, 1.0, False)


@pytest.mark.parametrize("n", [1, 50, 111, 150, 200, 327, 1000, 5000])
def test_what_is_allowed_to_be_lost_is_what_the_verdict_would_bear(n):
    """Catches a search that is content with a graph which `verify` then calls inconclusive."""
    allowed = allowed_loss(n)
    few = retention_of(np.ones(n, np.bool_), np.ones(n, np.bool_))
    assert (allowed is not None) == few.holds
    if allowed is not None:
        lost = round(allowed * n)
        assert retention_of(np.arange(n) >= lost, np.ones(n, np.bool_)).holds
        assert not retention_of(np.arange(n) >= lost + 1, np.ones(n, np.bool_)).holds


def test_the_attack_is_made_anew_on_the_graph_itself(model):
    """Catches retention by replay: images that fool nothing say that nothing is lost."""
    far = ThreatModel(norm="Linf", eps=Radius("96/255"))
    strong = replace(model, attacks=attacks_of("pgd"), threat_model=far)
    for found in (*try_precision(strong, "int8", progress=Silent()), *try_precision(strong, "fp16", progress=Silent())):
        assert found.search.retention is not None
        assert found.search.retention.n == N
        assert found.search.retention.value < 0.9, found.search.precision
        assert found.search.attack_seconds > 0


def test_an_attack_ends_where_too_much_is_lost_to_be_chosen(model, monkeypatch):
    """Catches an export that attacks to the end what it will not take, and a figure that hides that it did not."""
    monkeypatch.setattr(graph_attack, "BATCH", 4)
    far = ThreatModel(norm="Linf", eps=Radius("96/255"))
    strong = replace(model, attacks=attacks_of("pgd"), threat_model=far)
    (part,) = try_precision(replace(strong, in_full=False), "fp16", progress=Silent())
    (whole,) = try_precision(strong, "fp16", progress=Silent())
    shown, full = part.search.retention, whole.search.retention
    assert shown is not None
    assert full is not None
    assert (shown.at_most, full.at_most) == (True, False)
    assert full.value < shown.value < RETENTION
    assert f"keeps at most {shown.value:.1%} of 24 robust images" in search_words(part.search)


def test_a_variant_is_shown_what_fooled_the_model_and_the_nearest_images_are_first(model, monkeypatch):
    """Catches a retention above what `verify` finds, and an attack that must go to its end to find what is lost."""
    seen = []

    def attack_graph(graph, twin, samples, attacks, threat_model, *, order, **rest):
        seen.append((order, [attack.id for attack in attacks]))
        return graph_attack.attack_graph(graph, twin, samples, attacks, threat_model, order=order, **rest)

    monkeypatch.setattr(job, "attack_graph", attack_graph)
    (found,) = try_precision(model, "fp16", progress=Silent())
    assert found.search.retention is not None
    ((order, attacks),) = seen
    margins = margins_of(graph_logits(model.graph, model.samples.images), model.samples.labels)
    assert_array_equal(order, np.argsort(margins))
    assert attacks == ["transfer:fp32", "fgsm"]


def test_without_an_attack_on_the_host_nothing_is_claimed(model):
    """Catches auto that trusts clean agreement, and a search that needs adversarial images."""
    blind = replace(model, samples=StoredSamples(pixels=IMAGES, labels=model.samples.labels))
    assert choose(blind, "auto", faster=("int8",), placement="signed", progress=Silent()).tried == ()
    found = choose(blind, "int8", faster=(), placement="signed", progress=Silent()).tried
    assert [each.search.retention for each in found] == [None, None]
    assert all(each.search.float_layers == ("logits",) for each in found)
    assert "not attacked" in search_words(found[0].search)


@pytest.mark.usefixtures("few_will_do")
def test_auto_goes_on_where_a_precision_is_impossible(model, monkeypatch):
    """Catches an export that fails, or says nothing, because of an operator that only int8 lacks."""
    monkeypatch.setattr(job, "layers", lambda graph: (_ for _ in ()).throw(ExportError("no layer")))
    progress = Listening()
    monkeypatch.setattr(
        job,
        "attacked",
        lambda model, tried, progress: replace(tried, search=replace(tried.search, retention=held(1.0, 0.99))),
    )
    found = choose(model, "auto", faster=("int8", "fp16"), placement="signed", progress=progress)
    assert [each.search.precision for each in found.tried] == ["fp16"]
    assert any("int8 is not possible: no layer" in line for line in progress.lines)


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "name"), [("int8", "int8-unsigned"), ("fp16", "fp16")])
def test_a_variant_is_exported_and_verified_by_the_backend_that_is_here(tmp_path, monkeypatch, asked, name):
    """Catches a bundle for trt whose verdict on another runtime is about another precision, or fails by rounding."""
    run = write_run_to_export(tmp_path, monkeypatch, n=60)
    export_job.export(run, format="trt", precision=asked, progress=Silent())
    bundle = read_bundle(run.bundle)
    names = {"int8": ["int8-signed", "int8-unsigned", "fp32"], "fp16": ["fp16", "fp32"]}[asked]
    assert [variant.name for variant in bundle.manifest.variants] == names
    assert bundle.manifest.variant_for("trt", "signed").name == names[0]
    report = verify(bundle, engines=run.engines, backend="onnx", measure=True, progress=Silent())
    assert report.engine.variant == name
    assert report.engine.precision == asked
    assert report.parity.ok
    assert report.twin_agreement == 1.0
    told = {notice.id for notice in report.notices}
    assert ("no-half-here" in told) == (asked == "fp16" and platform.machine() == "x86_64"), "fp16 passes for half"
    assert precision_lines(bundle.manifest)[0].startswith(f"variants: {names[0]} for ")


def test_a_device_that_is_faster_in_int8_gets_it_without_a_word(tmp_path, monkeypatch):
    """Catches a default that ships float32 to a Jetson, and one that ships int8 to a device nothing is known of."""
    run = write_run_to_export(tmp_path, monkeypatch, n=60)
    asked = []
    monkeypatch.setattr(
        export_job, "choose", lambda model, precision, faster, **rest: asked.append((precision, faster)) or job.Chosen()
    )
    export_job.export(run, format="onnx", progress=Silent())
    assert asked == [("auto", faster_precisions(load_profile("x86-cpu").device))]
    assert asked[0][1] == ()
    assert faster_precisions(load_profile("jetson-orin").device) == ("int8", "fp16")
    assert faster_precisions(load_profile("jetson-nano").device) == ("fp16",)
