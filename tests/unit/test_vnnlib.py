"""VNN-LIB properties, read by the standard's own parser and by a small reader of the older form."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from edgerkd.bundle.kept import ids_of, kept_path
from edgerkd.bundle.read import read_bundle
from edgerkd.core.errors import ConfigError
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.files.atomic import sha256_of
from edgerkd.report.vnnlib import FORMS, Property, property_1, property_2, write_vnnlib
from edgerkd.verify.own import Brought, OwnSamples
from edgerkd.verify.run import verify
from edgerkd.verify.signed_report import write_report
from tests.bundles import GRAPH, write_small_bundle
from tests.command import in_process
from tests.report import samples
from tests.zoo import THREAT


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vnnlib") / "bundle"
    write_small_bundle(folder)
    return read_bundle(folder)


def toy(classes: int = 3) -> Property:
    low = np.array([[[0.0, 0.25], [0.5, 0.75]], [[0.1, 0.2], [0.3, 0.4]]])
    return Property(low=low, high=low + 0.0625, label=1, classes=classes, words="a toy")


def first_form(text: str) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """Bounds (values, 2) and the pairs of logits of which one must be at least the other, of VNN-LIB 1.0."""
    names = re.findall(r"^\(declare-const (\w+) Real\)$", text, re.MULTILINE)
    bounds = np.full((sum(name.startswith("X_") for name in names), 2), np.nan)
    for sign, index, value in re.findall(r"^\(assert \(([<>])= X_(\d+) (-?\d+\.\d+)\)\)$", text, re.MULTILINE):
        bounds[int(index), int(sign == "<")] = float(value)
    (wrong,) = re.findall(r"^\(assert \(or (.*)\)\)$", text, re.MULTILINE)
    pairs = re.findall(r"\(and \(>= Y_(\d+) Y_(\d+)\)\)", wrong)
    return bounds, {(int(one), int(other)) for one, other in pairs}


def second_form(text: str) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """The same of VNN-LIB 2.0, as its own parser reduces it."""
    vnnlib = pytest.importorskip("vnnlib", reason="the format's own parser has no wheel for this machine")
    compat = pytest.importorskip("vnnlib.compat")
    (case,) = compat.transform(vnnlib.parse_query_string(text))
    pairs: set[tuple[int, int]] = set()
    for polytope in case.output_constraints:
        (row,), (bound,) = np.asarray(polytope.coeff_matrix), polytope.rhs
        assert bound == 0
        assert sorted(row) == [-1, *[0] * (len(row) - 2), 1]
        pairs.add((int(np.argmin(row)), int(np.argmax(row))))
    return np.asarray(case.input_box), pairs


READERS = {"1.0": first_form, "2.0": second_form}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_property_asks_for_another_class_within_the_bounds(form, classes):
    """Catches bounds in another order, the label's class among the wrong ones, and a sign turned round."""
    found = toy(classes)
    bounds, pairs = READERS[form](FORMS[form](found))
    assert_allclose(bounds, np.stack([found.low.ravel(), found.high.ravel()], 1), rtol=0, atol=1e-9)
    assert pairs == {(k, 1) for k in range(classes) if k != 1}


def test_every_value_and_logit_is_declared():
    """Catches a name that is used and not declared, which strict readers refuse."""
    text = property_1(toy())
    assert set(re.findall(r"[XY]_\d+", text)) == set(re.findall(r"declare-const ([XY]_\d+) ", text))
    assert "(declare-input X float32 [1, 2, 2, 2])" in property_2(toy())
    assert "(declare-output Y float32 [1, 3])" in property_2(toy())


def test_the_folder_holds_the_very_graph_and_the_judged_images(bundle, tmp_path):
    """Catches another graph than the deployed one, images that were not judged, and bounds outside [0, 1]."""
    stored, _ = bundle.samples(bundle.manifest.variants[0])
    ids = ids_of(stored.pixels[[3, 7]])
    kept = replace(samples.kept(2), ids=ids)
    assert write_vnnlib(tmp_path / "out", bundle, bundle.manifest.variants[0], kept) == 2
    for form, read in READERS.items():
        with (tmp_path / "out" / form / "instances.csv").open(newline="") as file:
            lines = list(csv.reader(file))
        assert [Path(prop).stem for _, prop, _ in lines] == ["image-00003", "image-00007"]
        for (graph, prop, seconds), row in zip(lines, (3, 7), strict=True):
            assert sha256_of(tmp_path / "out" / form / graph) == bundle.manifest.files[GRAPH].sha256
            bounds, pairs = read((tmp_path / "out" / form / prop).read_text())
            image = stored.images[row].ravel().astype(np.float64)
            assert_allclose(bounds[:, 0], np.maximum(image - float(THREAT.eps), 0), rtol=0, atol=1e-8)
            assert_allclose(bounds[:, 1], np.minimum(image + float(THREAT.eps), 1), rtol=0, atol=1e-8)
            assert {right for _, right in pairs} == {int(stored.labels[row])}
            assert int(seconds) > 0


def test_without_a_verification_all_images_are_written(bundle, tmp_path):
    """Catches an empty folder."""
    variant = bundle.manifest.variants[0]
    count = write_vnnlib(tmp_path / "out", bundle, variant, None)
    assert count == len(bundle.samples(variant)[0]) == len(list((tmp_path / "out" / "1.0" / "vnnlib").iterdir()))


def test_what_cannot_be_written_is_said(bundle, tmp_path):
    """Catches a ball in L2 written as a box, a folder whose files would be lost, and no image at all."""
    variant = bundle.manifest.variants[0]
    round_ball = replace(bundle, manifest=replace(bundle.manifest, threat_model=replace(THREAT, norm="L2")))
    with pytest.raises(ConfigError, match="only Linf radii can be written"):
        write_vnnlib(tmp_path / "out", round_ball, variant, None)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("precious")
    with pytest.raises(ConfigError, match="must be empty or not exist"):
        write_vnnlib(full, bundle, variant, None)
    assert (full / "mine").read_text() == "precious"
    with pytest.raises(ConfigError, match="none of the images"):
        write_vnnlib(tmp_path / "out", bundle, variant, samples.kept())


@pytest.fixture(scope="module")
def judged(bundle, tmp_path_factory):
    """The folder of a bundle that was verified on images of the verifier's own, and these."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(bundle.path, folder / "bundle")
    found = read_bundle(folder / "bundle")
    stored, _ = found.samples(found.manifest.variants[0])
    pixels = np.random.default_rng(3).integers(0, 256, (60, *stored.pixels.shape[1:]), np.uint8)
    labels = np.random.default_rng(4).integers(0, 3, 60)
    path = RunFolder(folder).verification(found.key)
    own = OwnSamples(data="mine", pixels=pixels, labels=labels, of=60, seed=7)
    report = verify(
        found,
        engines=folder / "engines",
        measure=True,
        attack="fgsm",
        brought=Brought(samples=own),
        keep=kept_path(path),
        progress=Silent(),
    )
    write_report(path, report, None)
    return folder, pixels, labels


def test_images_of_the_verifiers_own_are_written_where_they_are_kept(judged, tmp_path, capsys):
    """Catches the bundle's images in the place of those that were judged, and a few told as if they were all."""
    folder, pixels, labels = judged
    done = in_process(("report", str(folder / "bundle"), "--vnnlib", str(tmp_path / "out")), capsys)
    assert done.code == 0
    files = sorted((tmp_path / "out" / "1.0" / "vnnlib").iterdir())
    assert 0 < len(files) <= 8
    assert re.search(rf"60 images of the verifier's own were judged, of which {len(files)} are kept", done.err)
    eps, low = float(THREAT.eps), np.divide(pixels, 255, dtype=np.float32).reshape(60, -1).astype(np.float64)
    for file in files:
        bounds, pairs = first_form(file.read_text())
        gaps = np.abs(np.maximum(low - eps, 0) - bounds[:, 0]).max(1)
        assert gaps.min() < 1e-8
        assert {right for _, right in pairs} == {int(labels[gaps.argmin()])}


def test_where_the_verifiers_images_are_not_kept_it_is_said_what_to_do(judged, tmp_path, capsys):
    """Catches properties of the bundle's images under a verdict about others."""
    folder, _, _ = judged
    copy = shutil.copytree(folder, tmp_path / "copy")
    (file,) = copy.glob("verify-*.images.npz")
    file.unlink()
    done = in_process(("report", str(copy / "bundle"), "--vnnlib", str(tmp_path / "out")), capsys)
    assert done.code == 3
    assert f"{file.name}, where a few of them are kept, is not there: copy it beside the report" in " ".join(
        done.err.split()
    )
    assert not (tmp_path / "out").exists()


def test_the_command(bundle, tmp_path, capsys):
    """Catches a variant that is not the one asked for, and a folder that is not said."""
    done = in_process(("report", str(bundle.path), "--vnnlib", str(tmp_path / "out"), "--variant", "fp32"), capsys)
    assert (done.code, done.err) == (0, "")
    assert "fp32.onnx and" in done.out
    assert in_process(("report", str(bundle.path), "--vnnlib", str(tmp_path / "o"), "--variant", "x"), capsys).code == 3
    assert in_process(("report", str(bundle.path), "--vnnlib", str(tmp_path / "o"), "--json"), capsys).code == 2
    assert in_process(("report", str(bundle.path), "--variant", "fp32"), capsys).code == 2
