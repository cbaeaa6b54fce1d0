"""bench/mutations.py: what counts as having reached a runtime, and what is drawn until it does."""

import json
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgerkd.bundle.read import read_bundle
from edgerkd.files.atomic import sha256_of
from tests.benches import bench
from tests.graph_bundles import bars, honest, write_graph_bundle

MUTATIONS = bench("mutations")
ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "docs/measured/mutations.json").read_text())


@pytest.fixture
def bundle(tmp_path):
    return write_graph_bundle(tmp_path / "bundle", honest(), *bars(20, seed=0))


def test_a_graph_was_tried_where_that_very_file_was_handed_over(bundle):
    """Catches a damaged twin that counts because the engine beside it was opened, and one that counts by its name."""
    graph, twin, samples = (bundle / name for name in ("fp32.onnx", "fp32.twin.onnx", "samples.npz"))
    handed = {sha256_of(graph)}
    reached = MUTATIONS.has_reached
    assert reached(MUTATIONS.Damage("", graph), handed, 6)
    assert not reached(MUTATIONS.Damage("", twin), handed, 6)
    assert reached(MUTATIONS.Damage("", samples), handed, 6)
    assert not reached(MUTATIONS.Damage("", samples), handed, 5)
    assert not reached(MUTATIONS.Damage("", samples), set(), 6)
    graph.write_bytes(graph.read_bytes() + b"\0")
    assert not reached(MUTATIONS.Damage("", graph), handed, 6)


def test_what_was_handed_over_is_of_one_mutant(bundle):
    """Catches digests of the mutant before, and a file that is told by its name."""
    handed = MUTATIONS.Handed()
    for name in ("fp32.onnx", "fp32.twin.onnx"):
        handed.forget()
        handed.add(str(bundle / name))
        assert handed.digests() == {sha256_of(bundle / name)}


@pytest.mark.parametrize(("number", "tries"), [(0, 1), (2, 3)])
def test_with_digests_that_fit_another_is_drawn_until_one_reaches_a_runtime(
    number, tries, bundle, tmp_path, monkeypatch
):
    """Catches a half that ends at the door, the same damage again and again, and redrawing where digests are stale."""
    seen = []

    def tried(folder, engines, **options):
        seen.append({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
        return {"exit": 6}

    monkeypatch.setattr(MUTATIONS, "tried", tried)
    monkeypatch.setattr(MUTATIONS, "has_reached", lambda *args: len(seen) == 3)
    bundle.rename(tmp_path / "robust")
    found = list(MUTATIONS.ones(number, tmp_path, tmp_path / "work", None))
    assert [each["reached"] for each in found] == [False, False, True][-3 : -3 + tries or None]
    assert {each["number"] for each in found} == {number}
    assert all(one != other for one, other in pairwise(seen))


def test_a_few_numbers_leave_a_bundle_that_can_be_read(bundle):
    """Catches damage of this kind that is refused at the door: another type, another shape, labels out of range."""
    changed = 0
    for seed in range(20):
        before = {path: MUTATIONS.arrays_in(path) for path in bundle.glob("*.npz")}
        damage = MUTATIONS.few_numbers(random.Random(seed), bundle)
        MUTATIONS.with_digests(bundle)
        after, first = MUTATIONS.arrays_in(damage.file), before[damage.file]
        assert {name: (a.shape, a.dtype) for name, a in after.items()} == {
            name: (a.shape, a.dtype) for name, a in first.items()
        }
        changed += any((after[name] != first[name]).any() for name in first)
        found = read_bundle(bundle)
        found.samples(found.manifest.variants[0])
    assert changed > 10


def test_a_quantiser_is_changed_where_there_is_one():
    """Catches a change of weights by that name."""
    kind = onnx.TensorProto.FLOAT
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    weights = [from_array(np.asarray(0.1, np.float32), "scale"), from_array(np.ones((64, 3), np.float32), "w")]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
    ]
    ends = [helper.make_tensor_value_info(name, kind, None) for name in ("images", "logits")]
    names = set()
    for seed in range(10):
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
        MUTATIONS.quantisers(random.Random(seed), graph)
        names |= {new.name for new, old in zip(graph.initializer, weights, strict=True) if new != old}
    assert names == {"scale"}


def test_half_of_ten_thousand_had_digests_that_fit_and_reached_a_runtime():
    """Catches figures of a part of the run, and mutants refused at the door counted as tried on a runtime."""
    assert RESULTS["mutants"] - RESULTS["drawn_again"] == RESULTS["numbers"] == 10_000
    assert RESULTS["digests_and_reached_a_runtime"] == 5000
    assert RESULTS["digests"] == 5000 + RESULTS["drawn_again"]
    assert RESULTS["crashes"] == RESULTS["over_1_gib"] == RESULTS["wrong_passes"] == 0


def test_the_guide_says_what_was_measured():
    """Catches figures of an older run in the guide."""
    guide = " ".join((ROOT / "docs/guide/frauds.md").read_text().split())
    for figure in (
        f"{RESULTS['drawn_again']:,} more were refused before",
        f"({RESULTS['longest_seconds']:.1f} s at most",
        f"none of the {RESULTS['passes']:,} that passed",
    ):
        assert figure in guide
