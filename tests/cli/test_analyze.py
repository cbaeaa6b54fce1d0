"""`edgerkd analyze variance-gap` as it is typed."""

import json

import pytest
import torch
import torch.nn.functional as F

from edgerkd.core.correlation import pearson
from edgerkd.core.run import RunFolder
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.core.variance_gap import GAPS, VarianceGapReport
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json
from edgerkd.jobs import analyze as job
from edgerkd.jobs import teacher_cache
from edgerkd.models.store import WEIGHTS, load_network, save_network
from edgerkd.report.variance_gap import ACROSS, SIGNED
from tests.runs import write_small_run
from tests.zoo import network


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return write_small_run(tmp_path / "runs" / "small")


def analyze(edgerkd, run: RunFolder, *more: object):
    return edgerkd("analyze", "variance-gap", "--run", run.path, "-n", 24, *more)


def test_the_gap_is_measured_at_every_radius_and_written(run, edgerkd):
    """Catches clean features at every radius, the run's radius alone, and a page or table of other figures."""
    ended = analyze(edgerkd, run, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert json.loads(run.variance_gap.read_text()) == found
    assert decode_json(VarianceGapReport, run.variance_gap).n == 24
    (student,) = found["networks"]
    points = student["points"]
    assert [point["eps"] for point in points] == [f"{2 * k}/255" for k in range(9)]
    assert set(points[0]["gaps"].values()) == {0}
    gaps = points[8]["gaps"]
    for name in gaps:
        assert len({point["gaps"][name] for point in points}) == 9
    assert gaps["within_class"] + gaps["between_class"] == pytest.approx(gaps["total"])
    accuracies = [point["robust_acc"]["value"] for point in points]
    assert accuracies[0] > accuracies[-1]
    assert student["r"]["gram"] == pytest.approx(pearson([point["gaps"]["gram"] for point in points], accuracies))
    assert student["r"]["radius"] == pytest.approx(pearson([float(k) for k in range(9)], accuracies))
    assert found["networks_r"] is None
    assert job.FEW in found["flags"]
    assert found["epochs"] == []
    shown = analyze(edgerkd, run)
    for text in (shown.out, run.variance_gap_page.read_text()):
        assert "student at 16/255" in text
        assert f"{100 * gaps['covariance']:.1f}" in text
        assert f"{100 * gaps['total']:+.1f}" in text
        for name in ("radius", *GAPS):
            assert f"{student['r'][name]:+.2f}" in text
        for line in (ACROSS, SIGNED):
            assert " ".join(line.split()) in " ".join(text.split())
    assert str(run.variance_gap_page) in shown.out


def test_the_attack_goes_on_after_an_image_is_fooled(monkeypatch):
    """Catches an attack that stops at the boundary, where features tell of the stop, and one that leaves the ball."""
    classifier = network(classes=3).requires_grad_(False)
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    threat_model = ThreatModel(norm="Linf", eps=Radius("16/255"))
    wrong = (classifier(images).argmax(1) + 1) % 3
    moved = job.attacked(classifier, images, wrong, threat_model, seed=0) - images
    loss = [float(F.cross_entropy(classifier(batch), wrong)) for batch in (images, images + moved)]
    assert loss[1] > loss[0]
    assert moved.abs().amax((1, 2, 3)).numpy() == pytest.approx([16 / 255] * 6, abs=1e-6)
    monkeypatch.setattr(job, "images_at_once", lambda shape: 4)
    torch.testing.assert_close(job.attacked(classifier, images, wrong, threat_model, seed=0), images + moved)
    assert (job.attacked(classifier, images, wrong, threat_model, seed=1) - images - moved).abs().max() > 1e-3


@pytest.mark.slow
def test_teacher_and_other_students_stand_beside_the_students(run, edgerkd, monkeypatch):
    """Catches one network measured under three names, and a correlation over networks at another radius."""
    folder = run.path.parent / "teacher"
    save_network(network(seed=3, classes=3, widths=(16, 16)), folder)

    class Card:
        name, weights_sha256 = "kept", sha256_of(folder / WEIGHTS)

    monkeypatch.setattr(teacher_cache, "kept_teacher", lambda name: (load_network(folder), Card))
    record = json.loads(run.recipe.read_text())
    run.recipe.write_text(json.dumps({**record, "teacher": "kept", "teacher_sha256": Card.weights_sha256}))
    other = write_small_run(run.path.parent / "other", seed=1)
    found = json.loads(analyze(edgerkd, run, "--with", other.path, "--json").out)
    assert [each["name"] for each in found["networks"]] == ["student", "teacher", "other"]
    assert [each["architecture"]["widths"] for each in found["networks"]] == [[8, 16], [16, 16], [8, 16]]
    alone = json.loads(analyze(edgerkd, other, "--json").out)
    assert found["networks"][2]["points"] == alone["networks"][0]["points"]
    at_own = [each["points"][4] for each in found["networks"]]
    assert [point["eps"] for point in at_own] == ["8/255"] * 3
    accuracies = [point["robust_acc"]["value"] for point in at_own]
    for name in GAPS:
        assert found["networks_r"][name] == pytest.approx(
            pearson([point["gaps"][name] for point in at_own], accuracies)
        )
    clean = [each["points"][0]["robust_acc"]["value"] for each in found["networks"]]
    assert found["networks_r"]["clean_acc"] == pytest.approx(pearson(clean, accuracies))
    assert found["networks_r"]["radius"] is None
    assert job.FEW not in found["flags"]
    shown = analyze(edgerkd, run, "--with", other.path).out
    assert "3 networks at 8/255" in shown
    assert f"{found['networks_r']['gram']:+.2f}" in shown
    monkeypatch.setattr(Card, "weights_sha256", "other weights")
    flags = json.loads(analyze(edgerkd, run, "--json").out)["flags"]
    assert flags[0].startswith("the teacher is not measured: kept is no longer the teacher of this run")


def test_epochs_that_noted_the_gap_are_drawn(run, edgerkd):
    """Catches epochs of before the gap was noted counted as 0, and accuracies of the clean images."""
    common = {"terms": {}, "val_clean_acc": 0.875, "lr": 0.1, "seconds": 1.0, "images_per_second": 1.0}
    lines = [{"epoch": 1, "val_robust_acc": 0.1, **common}]
    noted = [(2, 0.2, 0.5), (3, 0.4, 0.4), (4, 0.6, 0.3)]
    lines += [{"epoch": k, "val_robust_acc": a, "val_within_share_gap": g, **common} for k, a, g in noted]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = json.loads(analyze(edgerkd, run, "--json").out)
    assert [(each["epoch"], each["robust_acc"], each["within_share"]) for each in found["epochs"]] == noted
    assert found["epochs_r"] == pytest.approx(-1)
    assert "epoch 4: gap +30, robust 60.0%" in run.variance_gap_page.read_text()
    assert [flag for flag in found["flags"] if flag == job.STOPPED]
    assert "3 epochs (validation)" in analyze(edgerkd, run).out


def test_what_cannot_be_compared_is_refused(run, edgerkd, tmp_path):
    """Catches students of other images side by side, a variance of one image, and a folder that is no run."""
    other = write_small_run(tmp_path / "elsewhere" / "other", n=240)
    ended = analyze(edgerkd, run, "--with", other.path)
    assert (ended.code, "name runs of the same data" in ended.err) == (3, True)
    gone = analyze(edgerkd, run, "--with", tmp_path / "nowhere")
    assert (gone.code, "--with: " in gone.err, "--run" in gone.err) == (3, True, False)
    assert edgerkd("analyze", "variance-gap", "--run", run.path, "-n", 1).code == 2
    assert edgerkd("analyze", "variance-gapp", "--run", run.path).code == 2
    assert not run.variance_gap.exists()


def test_two_networks_of_one_name_are_refused(run, edgerkd):
    """Catches a network that takes the place of another in silence."""
    names = ("a/other", "b/other", "student")
    one, two, student = (write_small_run(run.path.parent / name, seed=1) for name in names)
    for others, name in (((one, two), "other"), ((student,), "student")):
        ended = analyze(edgerkd, run, *(word for other in others for word in ("--with", other.path)))
        assert (ended.code, f"a network named '{name}' is measured already" in ended.err) == (3, True)
    assert not run.variance_gap.exists()
