"""A float32 model that is another network than the fp16 or int8 one beside it, by which retention could be faked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgerkd.attacks.flag_kinds import OTHER_NETWORK
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.bundle.write import make_variant, write_bundle
from edgerkd.core.errors import ArtefactError, EngineError
from edgerkd.core.precision import Precision
from edgerkd.core.progress import Silent
from edgerkd.graphs.precision.fp16 import halved, widened
from edgerkd.graphs.precision.int8 import layers, quantized
from edgerkd.graphs.precision.ranges import find_ranges
from edgerkd.graphs.twin import gradient_twin
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.verify import one_network
from edgerkd.verify.graph import reference_of_graph
from edgerkd.verify.one_network import EXPLAINED, LEAPS, apart
from edgerkd.verify.recheck import problems_of
from edgerkd.verify.recheck_bundle import bundle_problems
from edgerkd.verify.run import verify
from tests.bundles import GRAPH, write_small_bundle
from tests.zoo import network


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("network") / "bundle"
    write_small_bundle(folder)
    return read_bundle(folder)


def with_host(
    small: Bundle, folder: Path, precision: Precision, host: bytes, stored: Reference | None = None
) -> Bundle:
    """The small bundle's network in a lower precision, and this float32 graph beside it, with what is `stored` for it.

    What the host held follows.
    """
    exact = (small.path / GRAPH).read_bytes()
    samples, _ = small.samples(small.manifest.variants[0])
    graph, slopes = (halved(exact), widened(halved(exact))) if precision == "fp16" else _rounded(exact, samples)
    stored = stored or reference_of_graph(host, samples)
    assert stored.logits_adv is not None
    held = (stored.logits.argmax(1) == samples.labels) & (stored.logits_adv.argmax(1) == samples.labels)
    samples = replace(samples, host_robust=held)
    own = make_variant(precision, graph=graph, twin=gradient_twin(slopes), reference=reference_of_graph(graph, samples))
    beside = make_variant("fp32", graph=host, twin=gradient_twin(host), reference=stored)
    manifest = replace(small.manifest, variants=(), reference=None)
    write_bundle(folder, manifest, variants=[own, beside], samples=samples)
    return read_bundle(folder)


def _rounded(exact: bytes, samples: StoredSamples) -> tuple[bytes, bytes]:
    graph = quantized(exact, find_ranges(exact, [samples.images]), placement="unsigned", keep=layers(exact)[-1:])
    return graph, graph


def doubts(bundle: Bundle, tmp_path: Path):
    """What a verification says of it, which must hold by itself, and not without the doubt."""
    found = verify(bundle, engines=tmp_path / "engines", attack="fgsm", measure=True, progress=Silent())
    assert [*problems_of(found), *bundle_problems(found, bundle)] == []
    said = [flag for flag in found.flags if flag.id == OTHER_NETWORK.id]
    without = replace(found, flags=tuple(flag for flag in found.flags if flag not in said))
    problems = bundle_problems(without, bundle)
    assert any(each.startswith("flags: not the doubt about the float32 model") for each in problems) == bool(said)
    return said


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_honest_bundle_is_not_doubted(small, tmp_path, precision):
    """Catches a limit that rounding alone reaches."""
    assert doubts(with_host(small, tmp_path / "bundle", precision, (small.path / GRAPH).read_bytes()), tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_another_network_beside_the_one_that_is_verified_is_doubted(small, tmp_path, precision):
    """Catches a retention that is a share of what a weaker network held."""
    other = onnx_from_network(network(seed=9, classes=3))
    (flag,) = doubts(with_host(small, tmp_path / "bundle", precision, other), tmp_path)
    assert float(flag.facts["difference"]) > EXPLAINED[precision]


@pytest.mark.parametrize("part", ["logits", "logits_adv"])
def test_answers_that_the_float32_graph_does_not_give_are_refused(small, tmp_path, part):
    """Catches a host that is said to have held little, by answers that its own graph does not give."""
    exact = (small.path / GRAPH).read_bytes()
    samples, _ = small.samples(small.manifest.variants[0])
    stored = reference_of_graph(exact, samples)
    logits = np.array(getattr(stored, part))
    logits[0] = logits[0, ::-1] + 0.1
    made = with_host(small, tmp_path / "bundle", "int8", exact, replace(stored, **{part: logits}))
    with pytest.raises(ArtefactError, match=r"fp32.onnx does not give the answers that are stored for it"):
        doubts(made, tmp_path)


def logits_of(n: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, 10)).astype(np.float32)


def test_rounding_does_not_leap():
    """Catches near ties, which rounding turns, taken for another network's answers, and constants for differences."""
    model = logits_of(2000, 0)
    difference, leaps = apart(model + np.float32(0.03) * logits_of(2000, 1) + np.float32(100), model, EXPLAINED["int8"])
    assert difference == pytest.approx(0.03, rel=0.1)
    assert leaps <= LEAPS * 2000 / 10


def test_two_classes_do_not_leap_at_their_boundary():
    """Catches a change held against an image's own logits, which are small where two classes are nearly level."""
    model = logits_of(2000, 0)[:, :2]
    _, leaps = apart(model + np.float32(0.03) * logits_of(2000, 1)[:, :2], model, EXPLAINED["int8"])
    assert leaps < LEAPS * 2000 / 4


def test_a_float32_graph_that_fails_on_the_stored_images_is_no_unknown(small, tmp_path, monkeypatch):
    """Catches a graph of another network that runs on all images but those which would tell."""

    def fails(engine, images):
        raise EngineError("out of range")

    made = with_host(small, tmp_path / "bundle", "int8", (small.path / GRAPH).read_bytes())
    monkeypatch.setattr(one_network, "engine_logits", fails)
    with pytest.raises(ArtefactError, match=r"fp32.onnx does not answer the images that are stored with it"):
        doubts(made, tmp_path)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_network_that_gives_way_on_a_few_images_leaps(noise):
    """Catches the very network with other answers to the stored adversarial images: over all it hardly differs."""
    model = logits_of(2000, 0)
    own = model + np.float32(noise) * logits_of(2000, 1)
    rows = np.arange(40)
    model[rows, own[rows].argmax(1)] = np.sort(own[rows], 1)[:, -2] - np.float32(0.05)
    difference, leaps = apart(own, model, EXPLAINED["int8"])
    assert leaps > LEAPS * 2000
    assert difference < EXPLAINED["int8"]
