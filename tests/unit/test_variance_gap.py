"""The variance gap: its figures, its correlation, its file and its page."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.core.variance_gap import EpochGap, GapPoint, NetworkGaps, VarianceGapReport, off_trend, pearson
from edgerkd.distill.variance_gap import answers, gram_norm, relative_gap, total_variance, variance_gap
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.report.variance_gap import correlation_table, gap_table, render_variance_gap
from tests import zoo


def test_total_variance_is_the_trace_of_the_covariance(rng):
    """Catches a biased variance, a mean over features, and one that sees a shift."""
    features = torch.from_numpy(rng.normal(size=(7, 5)))
    expected = np.trace(np.cov(features.numpy(), rowvar=False))
    assert total_variance(features) == pytest.approx(expected)
    assert total_variance(features + 100) == pytest.approx(expected)
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    assert total_variance(features @ torch.from_numpy(rotation)) == pytest.approx(expected)


def test_gram_norm_is_that_of_the_matrix_over_images(rng):
    """Catches the norm's square, and a figure that grows with the number of images."""
    scores = torch.from_numpy(rng.dirichlet(np.ones(4), size=6))
    expected = np.linalg.norm(scores.numpy() @ scores.numpy().T) / 6
    assert gram_norm(scores) == pytest.approx(expected)
    assert gram_norm(scores.repeat(3, 1)) == pytest.approx(expected)
    assert gram_norm(torch.eye(2)[[0, 0, 0]]) == pytest.approx(1)


def test_the_relative_gap_has_a_sign_and_survives_features_that_are_all_alike():
    """Catches a gap turned round, and a division by nothing."""
    assert relative_gap(4.0, 5.0) == 0.25
    assert relative_gap(4.0, 0.0) == -1
    assert relative_gap(0.0, 0.0) == 0


def test_the_gap_of_images_is_that_of_their_penultimate_features(rng, monkeypatch):
    """Catches logits taken for features, clean and attacked swapped, and batches of which one is lost."""
    network = zoo.network()
    images, images_adv = (torch.from_numpy(rng.random((9, 1, 8, 8), np.float32)) * scale for scale in (1, 0.2))
    with torch.no_grad():
        clean, attacked = (network.features(batch).penultimate.var(0).sum() for batch in (images, images_adv))
    expected = float(attacked / clean) - 1
    assert expected < -0.1
    for batch in (256, 4):
        monkeypatch.setattr("edgerkd.distill.variance_gap.BATCH", batch)
        features = (answers(network, each).penultimate for each in (images, images_adv))
        assert variance_gap(*features) == pytest.approx(expected, rel=1e-4)
    assert answers(network, images).scores.sum(1).numpy() == pytest.approx(np.ones(9), rel=1e-5)


def test_pearson_is_that_of_numpy_and_none_where_there_is_none(rng):
    """Catches another correlation, one of two points, and a crash where a gap is constant."""
    x, y = rng.normal(size=(2, 8))
    assert pearson(x.tolist(), y.tolist()) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pearson([1, 2], [3, 5]) is None
    assert pearson([1, 1, 1], [3, 5, 6]) is None


def _network(name: str, gaps: list[float], grams: list[float], accuracies: list[float], variance: float = 16.0):
    points = tuple(
        GapPoint(
            eps=Radius(f"{2 * k}/255"),
            robust_acc=Accuracy(value=value, n=8, low=value / 2, high=(1 + value) / 2),
            gap=gap,
            relative_gap=gap / variance,
            gram_gap=gram,
        )
        for k, (gap, gram, value) in enumerate(zip(gaps, grams, accuracies, strict=True))
    )
    values = [point.robust_acc.value for point in points]
    return NetworkGaps(
        name=name,
        architecture=zoo.architecture(),
        variance=variance,
        gram=0.5,
        points=points,
        r=pearson(gaps, values),
        gram_r=pearson(grams, values),
    )


RISING = _network("student", [0.0, 2.0, 4.0], [0.0, 0.125, 0.25], [0.75, 0.5, 0.25])
FALLING = _network("teacher", [0.0, -2.0, -4.0], [0.0, 0.125, 0.0], [1.0, 0.75, 0.5])
REPORT = VarianceGapReport(
    run="toy",
    split="test",
    n=8,
    of=8,
    threat_model=ThreatModel(norm="Linf", eps=Radius("2/255")),
    attack="PGD-20 CE, to its last step",
    seed=3,
    networks=(RISING, FALLING),
    networks_r=None,
    epochs=(EpochGap(epoch=1, robust_acc=0.25, relative_gap=0.5), EpochGap(epoch=2, robust_acc=0.5, relative_gap=0.25)),
    epochs_r=None,
    flags=("teacher: <odd>",),
)


def test_what_leaves_the_published_trend_is_said():
    """Catches a silent failure, praise for the opposite trend, and a note where all is as published."""
    assert off_trend(RISING) == []
    variance, gram = off_trend(FALLING)
    assert "feature variance" in variance
    assert "r is +1.00, and the gap is below 0 throughout" in variance
    assert "r of its size -1.00" in variance
    assert gram.endswith("r is +0.00")
    (flat,) = off_trend(_network("flat", [0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.9, 0.5, 0.1]))
    assert "the same at every radius" in flat


GOLDEN = """{
  "eps": "2/255",
  "robust_acc": {
    "value": 0.5,
    "n": 8,
    "low": 0.25,
    "high": 0.75
  },
  "gap": 2.0,
  "relative_gap": 0.125,
  "gram_gap": 0.125
}"""


def test_the_file_is_the_golden_one_and_reads_back(tmp_path):
    """Catches a key that was renamed or dropped, and a report that does not survive its file."""
    text = encode_json(REPORT)
    found = json.loads(text)
    assert list(found) == [
        *("schema", "run", "split", "n", "of", "threat_model", "attack", "seed", "networks", "networks_r"),
        *("epochs", "epochs_r", "flags"),
    ]
    assert list(found["networks"][0]) == ["name", "architecture", "variance", "gram", "points", "r", "gram_r"]
    assert found["networks"][0]["points"][1] == json.loads(GOLDEN)
    assert list(found["networks"][0]["points"][1]) == list(json.loads(GOLDEN))
    assert found["epochs"][0] == {"epoch": 1, "robust_acc": 0.25, "relative_gap": 0.5}
    (tmp_path / "gap.json").write_text(text)
    assert decode_json(VarianceGapReport, tmp_path / "gap.json") == REPORT


def test_the_tables_hold_every_radius_and_every_correlation():
    """Catches a network that is left out, and r of the Gram matrix under the variance's name."""
    rows = gap_table(REPORT).rows
    assert [row[0] for row in rows] == [f"{name} at {k}/255" for name in ("student", "teacher") for k in (0, 2, 4)]
    assert rows[1][2:] == ("+2", "+12.5%", "+0.1250")
    assert correlation_table(REPORT).rows == (
        ("student, over 3 radii", "-1.00", "-1.00"),
        ("teacher, over 3 radii", "+1.00", "+0.00"),
        ("2 networks at 2/255", "-", ""),
        ("2 epochs, validation split, attacked until fooled", "-", ""),
    )


def test_the_charts_are_of_their_gaps():
    """Catches an axis turned round, a chart cut at 0, epochs drawn as radii, and text that is not escaped."""
    page = render_variance_gap(REPORT)
    lines = re.findall(r'class="curve (\w+)" points="([^"]+)"', page)
    assert [kind for kind, _ in lines] == ["student", "teacher", "student", "teacher", "student"]
    assert lines[0][1] == "187.0,64.5 258.5,115.0 330.0,165.5"
    assert lines[1][1] == "187.0,14.0 115.5,64.5 44.0,115.0"
    assert lines[4][1] == "330.0,165.5 187.0,115.0"
    assert "student at 2/255: gap +12.5, robust 50.0%" in page
    assert "teacher: &lt;odd&gt;" in page
    without = render_variance_gap(replace(REPORT, epochs=(), flags=()))
    assert len(re.findall('class="curve', without)) == 4
    assert "<h3>Notes" not in without
    assert render_variance_gap(REPORT) == page
