"""The variance gap: its figures, its correlations, its file and its page."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.correlation import fisher_interval, pearson
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.core.variance_gap import (
    GAPS,
    Correlations,
    EpochGap,
    GapPoint,
    Gaps,
    NetworkGaps,
    VarianceGapReport,
    across,
    off_trend,
    over_radii,
)
from edgerkd.data.dataset import to_float
from edgerkd.distill.validation import validate
from edgerkd.distill.variance_gap import (
    Outputs,
    answers,
    covariance_distance,
    gaps_between,
    gram_distance,
    spread,
    within_share_gap,
)
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.report.variance_gap import across_table, gap_table, radii_table, render_variance_gap
from tests import zoo

seeds = st.integers(0, 2**16)


def features(seed: int, n: int = 9, d: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))


def scores(seed: int, n: int = 7, k: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(k), size=n))


def classes(seed: int, n: int = 9) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed + 1).integers(0, 3, size=n))


# Penultimate features (0, 2, 10, 12 on a line) of two classes: class means 1 and 11, mean 6. Within: 4 ones over n - 1;
# between: 4 times 25 over n - 1. Attacked, both classes spread twice as far and their means are 4 closer on each side.
LINE = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
LINE_ADV = torch.tensor([[3.0], [7.0], [5.0], [9.0]])
TWO = torch.tensor([0, 0, 1, 1])


def test_the_spread_by_hand():
    """Catches classes weighed alike whatever their size, division by n, and within and between exchanged."""
    found = spread(LINE, TWO)
    assert found == pytest.approx((4 / 3, 100 / 3))
    assert found.share == pytest.approx(1 / 26)
    uneven = spread(torch.tensor([[0.0], [0.0], [0.0], [4.0]]), torch.tensor([7, 7, 7, 2]))
    assert uneven == pytest.approx((0, 4))
    assert spread(torch.ones(3, 2), torch.tensor([0, 1, 1])).share == 0


@given(seeds, st.floats(-100, 100))
def test_within_and_between_are_the_total_and_see_no_shift_and_no_rotation(seed, shift):
    """Catches parts that do not add up to the trace of the covariance, and a variance about the origin."""
    x, labels = features(seed), classes(seed)
    found = spread(x, labels)
    assert found.total == pytest.approx(np.trace(np.cov(x.numpy(), rowvar=False)))
    assert 0 <= found.share <= 1
    rotation, _ = torch.linalg.qr(features(seed + 1, 4))
    assert spread(x @ rotation + shift, labels) == pytest.approx(found, rel=1e-6)
    assert spread(x, 5 - labels) == pytest.approx(found)


@given(seeds, st.floats(-100, 100), st.floats(0.1, 10))
def test_the_covariance_distance_is_zero_where_covariances_are_and_sees_no_shift_rotation_or_scale(seed, shift, scale):
    """Catches a missing centring, an absolute distance, a difference of norms, and one that is blind."""
    x, y = features(seed), features(seed + 1)
    found = covariance_distance(x, y)
    assert covariance_distance(x, x + shift) == pytest.approx(0, abs=1e-9)
    assert found > 1e-3
    rotation, _ = torch.linalg.qr(features(seed + 2, 4))
    turned = covariance_distance(scale * x @ rotation + shift, scale * y @ rotation - shift)
    assert turned == pytest.approx(found, rel=1e-6)
    assert covariance_distance(x, x @ rotation) > 1e-6


def test_the_covariance_distance_by_hand():
    """Catches a squared norm, the other's covariance as the scale, a correlation matrix, and a sign."""
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # covariance: 2/3 of the identity
    assert covariance_distance(x, x * torch.tensor([2.0, 1.0])) == pytest.approx(3 / 2**0.5)
    assert covariance_distance(x * torch.tensor([2.0, 1.0]), x) == pytest.approx(3 / 17**0.5)
    assert covariance_distance(x, torch.zeros(4, 2)) == pytest.approx(1)
    assert covariance_distance(torch.zeros(4, 2), torch.zeros(4, 2)) == 0


@given(seeds)
def test_the_gram_distance_is_that_of_the_matrices_over_images(seed):
    """Catches matrices over classes, whose difference misses images exchanged, and a lost or doubled mixed term."""
    p, q = scores(seed).numpy(), scores(seed + 1).numpy()
    expected = np.linalg.norm(q @ q.T - p @ p.T) / np.linalg.norm(p @ p.T)
    assert gram_distance(torch.from_numpy(p), torch.from_numpy(q)) == pytest.approx(expected, rel=1e-6)


@given(seeds)
def test_the_gram_distance_is_zero_where_matrices_are_equal_alone(seed):
    """Catches a difference of two norms, which is 0 for images whose answers changed places, and a NaN near 0."""
    p = scores(seed)
    assert gram_distance(p, p) == 0
    assert gram_distance(p, p[:, [1, 2, 0]]) == pytest.approx(0, abs=1e-7)  # the same matrix, by other classes
    assert gram_distance(p, p.roll(1, 0)) > 1e-3
    assert gram_distance(p, p + 1e-12) < 1e-6


def test_the_gram_distance_by_hand():
    """Catches a squared norm and a division by the number of images."""
    p = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert gram_distance(p, p[[0, 0]]) == pytest.approx(1)  # [[1, 1], [1, 1]] less the identity, over the identity
    assert gram_distance(p[[0, 0]], p) == pytest.approx(0.5**0.5)


def test_every_gap_by_hand():
    """Catches a gap under another's name, a sign turned, and variances over something other than the clean total."""
    p = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    found = gaps_between(Outputs(LINE, p), Outputs(LINE_ADV, p.flip(1) * 2), TWO)
    # attacked: 4 fours within, 4 ones between; the total falls from 104 to 20 (thirds)
    assert found.within_class == pytest.approx(12 / 104)
    assert found.between_class == pytest.approx(-96 / 104)
    assert found.total == pytest.approx(-84 / 104)
    assert found.within_share == pytest.approx(16 / 20 - 4 / 104)
    assert found.covariance == pytest.approx(84 / 104)
    assert found.gram == pytest.approx(3)
    assert within_share_gap(LINE, LINE_ADV, TWO) == found.within_share


@given(seeds)
def test_every_gap_is_zero_where_nothing_moved_and_the_two_trends_add_up(seed):
    """Catches a gap that is no difference, and a signed total that is not the sum of its two parts."""
    x, labels = features(seed), classes(seed)
    clean, attacked = Outputs(x, scores(seed, 9)), Outputs(features(seed + 5), scores(seed + 5, 9))
    assert gaps_between(clean, clean, labels) == Gaps(**dict.fromkeys(GAPS, 0.0))
    found = gaps_between(clean, attacked, labels)
    assert found.within_class + found.between_class == pytest.approx(found.total)
    assert -1 <= found.within_share <= 1
    assert min(found.covariance, found.gram) > 0


def test_features_that_are_all_alike_have_finite_gaps():
    """Catches a division by nothing, which would make a file that no reader takes."""
    alike = Outputs(torch.ones(9, 4), scores(0, 9))
    assert gaps_between(alike, alike, classes(0)) == Gaps(**dict.fromkeys(GAPS, 0.0))
    found = gaps_between(alike, Outputs(features(1), scores(1, 9)), classes(0))
    assert np.isfinite([getattr(found, name) for name in GAPS]).all()


def test_answers_are_features_and_scores_of_every_batch(rng, monkeypatch):
    """Catches logits taken for features or scores, and batches of which one is lost."""
    network = zoo.network()
    images = torch.from_numpy(rng.random((9, 1, 8, 8), np.float32))
    with torch.no_grad():
        expected = network.features(images)
    for batch in (256, 4):
        monkeypatch.setattr("edgerkd.distill.variance_gap.BATCH", batch)
        found = answers(network, images)
        torch.testing.assert_close(found.penultimate, expected.penultimate)
        torch.testing.assert_close(found.scores, expected.logits.softmax(1))


def test_validation_notes_the_share_of_the_images_answered_right(monkeypatch):
    """Catches a gap over wrong images as well, labels of other images, and features of clean images alone."""
    data, network = zoo.dataset(), zoo.network(classes=3).eval()
    threat_model = ThreatModel(norm="Linf", eps=Radius("32/255"))
    images, labels = to_float(data.val.images), data.val.labels
    right = network(images).argmax(1) == labels
    assert 1 < int(right.sum()) < len(images)
    images, labels = images[right], labels[right]
    monkeypatch.setattr("edgerkd.distill.validation.pgd", lambda classifier, inputs, **_: inputs.images * 0.5)
    found = validate(network, data.val, threat_model, autocast=False)
    with torch.no_grad():
        clean, attacked = (network.features(each).penultimate for each in (images, images * 0.5))
    assert found.within_share_gap == pytest.approx(within_share_gap(clean, attacked, labels), abs=1e-6)
    assert abs(found.within_share_gap) > 1e-4
    assert found.clean_acc == pytest.approx(float(right.float().mean()))


def test_pearson_is_that_of_numpy_and_none_where_there_is_none(rng):
    """Catches another correlation, one of two points, a crash where a gap is constant, and one beyond 1."""
    x, y = rng.normal(size=(2, 8))
    assert pearson(x.tolist(), y.tolist()) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pearson([1, 2], [3, 5]) is None
    assert pearson([1, 1, 1], [3, 5, 6]) is None
    assert all(abs(pearson([a, 2 * a, 7 * a], [3 * a, 6 * a, 21 * a]) or 2) <= 1 for a in rng.random(50))


def test_the_interval_of_a_correlation_by_hand():
    """Catches n in place of n - 3, an interval of r itself, and a crash where there is none."""
    assert fisher_interval(0.5, 28) == pytest.approx((0.1560, 0.7358), abs=1e-4)  # tanh(0.5493 -+ 1.96 / 5)
    assert fisher_interval(-0.95, 24) == pytest.approx((-0.9784, -0.8862), abs=1e-4)  # tanh(-1.8318 -+ 1.96 / 21**0.5)
    assert fisher_interval(0.5, 3) is None
    assert fisher_interval(-1.0, 9) is None


def point(eps: str, value: float, **gaps: float) -> GapPoint:
    accuracy = Accuracy(value=value, n=8, low=value / 2, high=(1 + value) / 2)
    return GapPoint(eps=Radius(eps), robust_acc=accuracy, gaps=Gaps(**{**dict.fromkeys(GAPS, 0.0), **gaps}))


def _network(name: str, accuracies: list[float], **gaps: list[float]) -> NetworkGaps:
    points = tuple(
        point(f"{2 * k}/255", value, **{gap: values[k] for gap, values in gaps.items()})
        for k, value in enumerate(accuracies)
    )
    return NetworkGaps(
        name=name,
        architecture=zoo.architecture(),
        variance=16.0,
        within_share=0.25,
        points=points,
        r=over_radii(points),
    )


RISING = _network(
    "student",
    [0.75, 0.5, 0.25],
    covariance=[0.0, 0.5, 1.0],
    gram=[0.0, 0.25, 0.5],
    within_class=[0.0, 0.125, 0.25],
    within_share=[0.0, 0.125, 0.25],
    between_class=[0.0, -0.25, -0.5],
    total=[0.0, -0.125, -0.25],
)
BACK = _network(
    "teacher",
    [1.0, 0.75, 0.5],
    covariance=[0.0, 0.25, 0.5],
    gram=[0.0, 0.25, 0.0],
    within_class=[0.0, -0.125, -0.25],
    within_share=[0.0, 0.0, 0.0],
)
OTHER = _network("other", [1.0, 0.25, 0.0], covariance=[0.0, 1.0, 1.5], gram=[0.0, 0.75, 1.0])
REPORT = VarianceGapReport(
    run="toy",
    split="test",
    n=8,
    of=8,
    threat_model=ThreatModel(norm="Linf", eps=Radius("2/255")),
    attack="PGD-20 CE, to its last step",
    seed=3,
    networks=(RISING, BACK, OTHER),
    networks_r=across((RISING, BACK, OTHER), Radius("2/255")),
    epochs=(
        EpochGap(epoch=1, robust_acc=0.25, within_share=0.5),
        EpochGap(epoch=2, robust_acc=0.5, within_share=0.25),
    ),
    epochs_r=None,
    flags=("teacher: <odd>",),
)


def test_each_correlation_is_with_its_own_gap():
    """Catches one gap's r under another's name, an r without its sign, and a control that is no radius."""
    assert RISING.r == Correlations(
        radius=-1, clean_acc=None, covariance=-1, gram=-1, within_class=-1, within_share=-1, between_class=1, total=1
    )
    assert BACK.r == Correlations(
        radius=-1,
        clean_acc=None,
        covariance=-1,
        gram=0,
        within_class=1,
        within_share=None,
        between_class=None,
        total=None,
    )


def test_across_networks_is_at_one_radius():
    """Catches every radius of every network in one r, another radius or control, and two networks called a line."""
    found = REPORT.networks_r
    assert found is not None
    assert found.radius is None
    assert found.clean_acc == pytest.approx(np.corrcoef([0.75, 1.0, 1.0], [0.5, 0.75, 0.25])[0, 1])
    assert found.covariance == pytest.approx(np.corrcoef([0.5, 0.25, 1.0], [0.5, 0.75, 0.25])[0, 1])
    assert found.gram == pytest.approx(np.corrcoef([0.25, 0.25, 0.75], [0.5, 0.75, 0.25])[0, 1])
    assert across((RISING, BACK), Radius("2/255")) is None


def test_what_leaves_the_published_trend_is_said():
    """Catches a silent failure, a note where all is as published, and a signed total taken for a distance."""
    assert off_trend(RISING) == []
    gram, within, share = off_trend(BACK)
    assert "called Gram distance grows: r is +0.00" in gram
    assert "called within-class variance grows: r is +1.00" in within
    assert "called within-class share grows: one of the two is the same at every radius" in share
    assert all(line.startswith("teacher: over the radii robust accuracy does not fall") for line in off_trend(BACK))


GOLDEN = """{
  "eps": "2/255",
  "robust_acc": {
    "value": 0.5,
    "n": 8,
    "low": 0.25,
    "high": 0.75
  },
  "gaps": {
    "covariance": 0.5,
    "gram": 0.25,
    "within_class": 0.125,
    "within_share": 0.125,
    "between_class": -0.25,
    "total": -0.125
  }
}"""


def test_the_file_is_the_golden_one_and_reads_back(tmp_path):
    """Catches a key that was renamed or dropped, and a report that does not survive its file."""
    text = encode_json(REPORT)
    found = json.loads(text)
    assert list(found) == [
        *("schema", "run", "split", "n", "of", "threat_model", "attack", "seed", "networks", "networks_r"),
        *("epochs", "epochs_r", "flags"),
    ]
    assert found["schema"] == 2
    assert list(found["networks"][0]) == ["name", "architecture", "variance", "within_share", "points", "r"]
    assert json.dumps(found["networks"][0]["points"][1], indent=2) == GOLDEN
    assert list(found["networks"][0]["r"]) == ["radius", "clean_acc", *json.loads(GOLDEN)["gaps"]]
    assert found["epochs"][0] == {"epoch": 1, "robust_acc": 0.25, "within_share": 0.5}
    (tmp_path / "gap.json").write_text(text)
    assert decode_json(VarianceGapReport, tmp_path / "gap.json") == REPORT


def test_the_tables_hold_every_radius_and_every_correlation():
    """Catches a network that is left out, columns exchanged, and a table across networks where there are too few."""
    rows = gap_table(REPORT).rows
    names = [f"{name} at {k}/255" for name in ("student", "teacher", "other") for k in (0, 2, 4)]
    assert [row[0] for row in rows] == names
    assert gap_table(REPORT).headers[2:] == ("covar.", "Gram", "within", "share", "between", "total")
    assert rows[1][2:] == ("50.0", "25.0", "+12.5", "+12.5", "-25.0", "-12.5")
    assert radii_table(REPORT).headers[1:] == ("radius", *gap_table(REPORT).headers[2:])
    assert radii_table(REPORT).rows == (
        ("student, over 3 radii", "-1.00", "-1.00", "-1.00", "-1.00", "-1.00", "+1.00", "+1.00"),
        ("teacher, over 3 radii", "-1.00", "-1.00", "+0.00", "+1.00", "-", "-", "-"),
        ("other, over 3 radii", "-0.96", "-1.00", "-1.00", "-", "-", "-", "-"),
        ("2 epochs (validation)", "", "", "", "", "-", "", ""),
    )
    found = across_table(REPORT)
    assert found.headers[0] == "3 networks at 2/255"
    assert found.rows[:2] == (("clean accuracy (control)", "+0.00", "-"), ("covariance distance", "-0.98", "-"))
    assert [row[0] for row in found.rows[1:]] == list(GAPS.values())
    assert across_table(replace(REPORT, networks_r=None)).rows == ()
    four = replace(REPORT, networks=(*REPORT.networks, RISING))
    assert across_table(four).rows[1][2] == "[-1.00, -0.37]"  # atanh(-0.982) = -2.350, less and plus 1.96


def test_the_charts_are_of_their_gaps():
    """Catches an axis turned round, a panel of the other kind, epochs drawn as radii, and text that is not escaped."""
    page = render_variance_gap(REPORT)
    lines = re.findall(r'class="curve (\w+)" points="([^"]+)"', page)
    assert [kind for kind, _ in lines] == ["student", "teacher", "other"] * 3 + ["student"]
    share, gram, covariance = (points for kind, points in lines[:9] if kind == "student")
    assert share == "44.0,64.5 187.0,115.0 330.0,165.5"
    assert gram == "44.0,64.5 115.5,115.0 187.0,165.5"
    assert covariance == "44.0,64.5 139.3,115.0 234.7,165.5"
    assert lines[9][1] == "330.0,165.5 187.0,115.0"
    panels = page.split('class="beside"')[1:]
    assert len(panels) == 3
    left, right = panels[2].split("</svg>")[:2]
    assert (left.count("<circle"), right.count("<circle")) == (9, 3)
    assert "student at 2/255: gap +50, robust 50.0%" in right
    assert 'cx="187.0" cy="115.0"' in right
    assert "r -0.98" in right
    assert "teacher: &lt;odd&gt;" in page
    assert render_variance_gap(REPORT) == page


def test_what_a_run_lacks_is_not_drawn():
    """Catches an empty panel across networks, a chart of no epochs, and headings over nothing."""
    alone = render_variance_gap(replace(REPORT, networks=(RISING,), networks_r=None, epochs=(), flags=()))
    assert len(re.findall("<svg", alone)) == 3
    assert "networks at 2/255" not in alone
    assert "<h3>Notes" not in alone
    assert "Robust accuracy against each gap, across networks" not in alone


def test_many_networks_are_named_only_as_far_as_there_is_room():
    """Catches names that run out of the chart."""
    many = tuple(replace(RISING, name=f"n{k}") for k in range(8))
    page = render_variance_gap(replace(REPORT, networks=many))
    heights = [float(y) for y in re.findall(r'<text class="name \w+" x="[\d.]+" y="([\d.]+)"', page)]
    assert max(heights) < 256
    assert "and 3 more" in page
    assert "n7 at 4/255: gap" in page
