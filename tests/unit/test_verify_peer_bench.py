"""bench/verify_peer.py: the same images for both, each outcome with its own image, and the page's figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgerkd.bundle.read import read_bundle
from tests.benches import bench
from tests.bundles import write_small_bundle

ROOT = Path(__file__).parents[2]
PEER = bench("verify_peer")
MEASURED = sorted((ROOT / "docs/measured").glob("verify-peer-*.json"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peer") / "bundle"
    write_small_bundle(folder)
    return read_bundle(folder)


def test_an_outcome_is_that_of_its_image():
    """Catches outcomes in the order in which images were judged, and letters counted from another row."""
    report = {
        "rows": [{"attack": "noise"}, {"attack": "apgd-ce"}, {"attack": "square"}],
        "judged": {"images": [2, 0, 3, 1], "fates": ["b+", "-c"]},
    }
    assert PEER.outcomes_told(report, 4) == ("held", "square", "apgd-ce", "wrong at once")
    with pytest.raises(SystemExit, match="4 of 5"):
        PEER.outcomes_told(report, 5)


def test_a_part_is_the_same_model_with_these_images_alone(bundle, tmp_path):
    """Catches other images than the peer gets, logits of other images, and fooled ones that only had to be shown."""
    rows, variant = np.array([3, 8, 11, 19]), bundle.manifest.variants[0]
    PEER.write_part(tmp_path / "part", bundle, variant, rows)
    part = read_bundle(tmp_path / "part")
    samples, reference = part.samples(part.manifest.variants[0])
    every, logits = bundle.samples(variant)
    np.testing.assert_array_equal(samples.pixels, every.pixels[rows])
    np.testing.assert_array_equal(reference.logits, logits.logits[rows])
    assert samples.images_adv is samples.transfers is reference.logits_adv is None
    assert (part.path / "fp32.twin.onnx").read_bytes() == (bundle.path / "fp32.twin.onnx").read_bytes()


def test_each_attack_of_the_peer_gets_what_the_one_before_left(monkeypatch):
    """Catches an attack on what is wrong already, and a place among those left taken for one among all."""
    asked = {}

    def peer(names, eps):
        def run(network, images, labels):
            asked[names[0]] = images.flatten().tolist()
            turned = {"apgd-ce": 1.0, "fab-t": 4.0}.get(names[0], 0.0)
            return torch.where(images == turned, -images, images), {}

        return run

    class Sign(nn.Module):
        def forward(self, images):
            return torch.cat([images, -images], 1)

    monkeypatch.setattr(PEER, "by_pyautoattack", peer)
    found = PEER.by_peer(Sign(), torch.tensor([[3.0], [1.0], [-2.0], [4.0]]), torch.zeros(4, dtype=torch.int64), 0.1)
    assert found.outcomes == ("held", "apgd-ce", "wrong at once", "fab-t")
    assert asked == {"apgd-ce": [3, 1, 4], "apgd-t": [3, 4], "fab-t": [3, 4], "square": [3]}
    assert PEER.after_each(found) == {"clean": 0.75, "apgd-ce": 0.5, "apgd-t": 0.5, "fab-t": 0.25, "square": 0.25}


def test_images_fooled_by_one_alone_are_told_apart():
    """Catches the two exchanged, and images that were wrong at once among those fooled."""
    sides = [
        PEER.Side(seconds=1.0, cpu_seconds=1.0, attacks=("apgd-ce",), outcomes=outcomes)
        for outcomes in (
            ("held", "apgd-ce", "apgd-ce", "apgd-ce", "wrong at once"),
            ("held", "held", "held", "apgd-ce", "wrong at once"),
        )
    ]
    results = PEER.results_of([PEER.Part(rows=(0, 1, 2, 3, 4), verify=sides[0], peer=sides[1])], {})
    assert results["fooled"] == {"both": 1, "the engine only": 2, "the student only": 0}


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_the_page_shows_what_was_measured(path):
    """Catches a table written by hand, and figures that do not follow from the outcomes beside them."""
    results = json.loads(path.read_text())
    assert PEER.table(results) in (ROOT / "docs/measured/attacks.md").read_text()
    parts = [
        PEER.Part(rows=tuple(part["rows"]), **{name: PEER.Side(**part[name]) for name in ("verify", "peer")})
        for part in results["parts"]
    ]
    again = PEER.results_of(parts, {})
    assert {name: results[name] for name in ("n", "fooled", "outcomes")} == {
        name: again[name] for name in ("n", "fooled", "outcomes")
    }
    assert len({row for part in parts for row in part.rows}) == results["n"] > 0


@pytest.mark.slow
def test_the_command_judges_every_image_of_a_part(bundle, tmp_path):
    """Catches options that `edgerkd verify` does not take, and a verification that ends as soon as it is sure."""
    PEER.write_part(tmp_path / "bundle", bundle, bundle.manifest.variants[0], np.arange(12))
    found = PEER.by_verify(tmp_path / "bundle", "fp32", 12)
    assert len(found.outcomes) == 12
    assert {"apgd-ce", "apgd-t", "square"} <= set(found.attacks)
    assert found.cpu_seconds > 0.5
