"""What `verify` keeps beside its report, on a real engine and on a network with a known answer."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edgerkd.bundle.kept import ids_of, kept_path, read_kept
from edgerkd.bundle.read import read_bundle
from edgerkd.core.progress import Silent
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.core.verification import VerifyReport
from edgerkd.files.atomic import sha256_of
from edgerkd.verify import keep
from edgerkd.verify.keep import distances_to, nearest
from edgerkd.verify.run import verify
from tests.bundles import write_small_bundle

LINF = ThreatModel(norm="Linf", eps=Radius("8/255"))


class Threshold:
    """Class 1 where the mean of the image is at least `at`, else class 0: its boundary is known."""

    def __init__(self, at: float) -> None:
        self.at = at

    def logits(self, images):
        return np.stack([np.zeros(len(images)), images.mean((1, 2, 3)) - self.at], 1).astype(np.float32)

    def gradient(self, images, cotangent):
        logits = self.logits(images)
        weights = np.asarray(cotangent(logits))[:, 1]
        return logits, np.broadcast_to(weights[:, None, None, None] / images[0].size, images.shape).astype(np.float32)


def test_the_distance_is_the_boundarys_to_a_thirty_second():
    """Catches a change that no longer fools counted, the wrong norm, and a distance of what never fooled."""
    images = np.full((2, 1, 4, 4), 0.5, np.float32)
    others = np.stack([np.full((1, 4, 4), 0.6, np.float32), np.full((1, 4, 4), 0.51, np.float32)])
    labels = np.array([0, 0])
    engine = Threshold(0.53)
    found = distances_to(engine, images, others, labels, norm="Linf")
    assert 0.03 <= found[0] <= 0.03 + 0.1 / 32 + 1e-6
    assert np.isinf(found[1])
    assert distances_to(engine, images, others, labels, norm="L2")[0] == pytest.approx(4 * found[0])
    assert len(distances_to(engine, images[:0], others[:0], labels[:0], norm="Linf")) == 0


def test_a_nearer_change_is_looked_for_at_smaller_radii():
    """Catches a curve of the changes found at the largest radius alone, which go a longer way than they must."""
    images = np.full((1, 1, 4, 4), 0.5, np.float32)
    # Half of the pixels pull the other way, so that only far along this way the mean is high enough.
    other = images + np.where(np.arange(16).reshape(1, 1, 4, 4) % 8 < 3, -8 / 255, 8 / 255).astype(np.float32)
    engine, labels = Threshold(0.5 + 1.9 / 255), np.array([0])
    alone = distances_to(engine, images, other, labels, norm="Linf")
    assert alone[0] > 7 / 255
    assert 1.9 / 255 <= nearest(engine, images, other, labels, LINF)[0] <= 2 / 255 + 1e-6


@pytest.fixture(scope="module")
def kept_report(tmp_path_factory) -> tuple[VerifyReport, object]:
    folder = tmp_path_factory.mktemp("keep")
    write_small_bundle(folder / "bundle")
    report = verify(
        read_bundle(folder / "bundle"),
        engines=folder / "engines",
        backend="onnx",
        keep=kept_path(folder / "verify.json"),
        progress=Silent(),
    )
    return report, folder


def test_the_file_is_bound_to_the_report_and_has_its_images(kept_report):
    """Catches a digest of another file, outcomes of other images, and answers that the report does not bear out."""
    report, folder = kept_report
    path = folder / "verify.images.npz"
    assert report.kept is not None
    assert (report.kept.file, report.kept.sha256) == (path.name, sha256_of(path))
    found = read_kept(path)
    bundle = read_bundle(folder / "bundle")
    stored, _ = bundle.samples(bundle.manifest.variants[0])
    assert set(found.ids.tolist()) <= set(ids_of(stored.pixels).tolist())
    assert found.clean.mean() == pytest.approx(report.clean_acc.value)
    assert found.robust.mean() == pytest.approx(report.robust_acc.value)
    assert_array_equal(np.isinf(found.distances), found.robust)
    assert_array_equal(found.distances == 0, ~found.clean)
    assert_array_equal(found.answers_adv == found.labels, found.robust[found.rows])
    change = np.abs(found.images_adv - np.divide(found.images, 255, dtype=np.float32)).max((1, 2, 3))
    assert change.max() <= float(report.threat_model.eps) + 1e-6
    assert ((found.shares > 0) & (found.shares_adv > 0)).all()


def test_the_curve_begins_and_ends_with_the_reports_own_figures(kept_report):
    """Catches a curve of other images, and one that is not what the attack left at its own radius."""
    report, _ = kept_report
    assert report.curve[0].robust_acc == report.clean_acc
    assert report.curve[-1].robust_acc == report.robust_acc
    assert report.curve[-1].eps == report.threat_model.eps
    values = [point.robust_acc.value for point in report.curve]
    assert values == sorted(values, reverse=True)
    found = report.latency_ms.histogram
    assert found is not None
    assert sum(found.counts) + found.above == report.latency_ms.runs


def test_a_limit_in_bytes_leaves_images_out(kept_report, monkeypatch, tmp_path):
    """Catches a file as large as the images are, and one without any."""
    _, folder = kept_report
    monkeypatch.setattr(keep, "LIMIT", 3 * 5 * read_kept(folder / "verify.images.npz").images[0].size)
    verify(
        read_bundle(folder / "bundle"),
        engines=folder / "engines",
        backend="onnx",
        keep=tmp_path / "few.npz",
        progress=Silent(),
    )
    assert len(read_kept(tmp_path / "few.npz").rows) == 3


def test_what_cannot_be_kept_costs_no_verdict(kept_report, tmp_path):
    """Catches an attack that was in vain because a disk is full."""
    report, folder = kept_report
    (tmp_path / "taken").mkdir()
    found = verify(
        read_bundle(folder / "bundle"),
        engines=folder / "engines",
        backend="onnx",
        keep=tmp_path / "taken",
        progress=Silent(),
    )
    assert found.kept is None
    assert found.curve == report.curve
    assert_allclose(found.robust_acc.value, report.robust_acc.value)
    assert replace(found, verdict=report.verdict).bundle == report.bundle
