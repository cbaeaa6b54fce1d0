"""A bundle is read whole and unchanged, or not at all."""

import json
import shutil
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from edgerkd.bundle import plugins
from edgerkd.bundle import samples as stored_samples
from edgerkd.bundle.card import CARD
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.samples import (
    Reference,
    StoredSamples,
    arrays_bytes,
    fit_problems,
    read_reference,
    read_samples,
)
from edgerkd.bundle.write import make_variant, write_bundle
from edgerkd.core.errors import ArtefactError, ConfigError, MissingDependencyError, UnknownNameError
from edgerkd.core.manifest import MANIFEST, SAMPLES
from edgerkd.core.variant import ParityLimits
from edgerkd.files import arrays
from edgerkd.jobs.export import STORED_IMAGES
from tests.bundles import GRAPH, REFERENCE, TWIN, write_small_bundle

FILES = (GRAPH, TWIN, REFERENCE, SAMPLES, CARD)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "bundle"
    write_small_bundle(folder)
    return folder


@pytest.fixture
def bundle(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def test_what_was_written_is_read_back(bundle):
    """Catches a field lost on the way, and arrays that change."""
    found = read_bundle(bundle)
    assert found.manifest.name == "small"
    assert set(found.manifest.files) == set(FILES)
    samples, reference = found.samples(found.manifest.variants[0])
    assert len(samples) == len(reference.logits) == 20
    assert samples.images_adv is not None
    assert samples.images.dtype == np.float32
    assert_array_equal(np.rint(samples.images * 255), samples.pixels)
    assert np.abs(samples.images_adv - samples.images).max() <= float(found.manifest.threat_model.eps) + 1e-6


def test_the_key_is_the_name_and_the_digest(bundle, tmp_path):
    """Catches two bundles of one name, or one content under two names, that share their engines and reports."""
    found = read_bundle(bundle)
    assert found.key == f"bundle-{found.sha256[:12]}"
    moved = read_bundle(bundle.rename(tmp_path / "other"))
    assert moved.key == f"other-{found.sha256[:12]}"


def test_writing_twice_gives_the_same_bytes(bundle, tmp_path):
    """Catches a time stamp or an unseeded number, which would give one student two digests."""
    write_small_bundle(tmp_path / "again")
    for name in (*FILES, MANIFEST):
        assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes(), name


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(bundle, name):
    """Catches a reader that fails only when it comes to need the file."""
    (bundle / name).unlink()
    with pytest.raises(ArtefactError, match=rf"{name}( is|:) missing"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(bundle, name):
    """Catches a copy that was cut off."""
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content[:-10])
    with pytest.raises(ArtefactError, match=f"{name}: {len(content) - 10} bytes.*truncated"):
        read_bundle(bundle)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.floats(0, 0.9999), st.integers(1, 255))
def test_flipping_any_byte_is_noticed(bundle, name, where, mask):
    """Catches a digest of a part of the file, or one that is never compared."""
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= mask
    before = path.read_bytes()
    path.write_bytes(bytes(content))
    try:
        with pytest.raises(ArtefactError, match=f"{name}: SHA-256"):
            read_bundle(bundle)
    finally:
        path.write_bytes(before)


def test_all_problems_are_named_at_once(bundle):
    """Catches a reader that stops at the first."""
    (bundle / GRAPH).unlink()
    (bundle / SAMPLES).write_bytes(b"")
    with pytest.raises(ArtefactError, match=r"(?s)2 problems.*samples\.npz.*fp32\.onnx.*edgerkd export"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_manifest_cannot_point_out_of_its_folder(bundle, name):
    """Catches a bundle that has a file of the device read and its digest shown."""
    path = bundle / MANIFEST
    path.write_text(path.read_text().replace(f'"{name}"', '"../../etc/passwd"'))
    with pytest.raises(ArtefactError, match="not a plain file name"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"schema": 1', '"schema": 2', "schema 2"),
        ('"reference"', '"referencex"', "referencex: unknown key"),
        ("{", "", "JSON"),
    ],
)
def test_a_manifest_of_another_make_is_refused(bundle, old, new, message):
    """Catches a manifest that is only half read."""
    path = bundle / MANIFEST
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ArtefactError, match=message):
        read_bundle(bundle)


def test_a_bundle_that_is_not_there_is_bad_input_and_not_damage(tmp_path):
    """Catches a mistyped name that is called a damaged file."""
    with pytest.raises(ConfigError, match=r"nix: there is no such bundle"):
        read_bundle(tmp_path / "nix")


def test_a_folder_that_is_no_bundle_says_how_to_make_one(tmp_path):
    """Catches a bare FileNotFoundError."""
    with pytest.raises(ArtefactError, match=r"is not a bundle, .*: make one with `edgerkd export`"):
        read_bundle(tmp_path)
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).write_text("{}")
    with pytest.raises(ArtefactError, match=r"name one of those in it, such as .*/a\."):
        read_bundle(tmp_path)


def edited(bundle: Path, change) -> Path:
    """The bundle with another manifest; `change` edits its JSON in place."""
    data = json.loads((bundle / MANIFEST).read_text())
    change(data)
    (bundle / MANIFEST).write_text(json.dumps(data))
    return bundle


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["variants"].append(data["variants"][0]), "names the variant fp32 twice"),
        (lambda data: data["files"].pop(GRAPH), f"{GRAPH}: not listed in the manifest"),
        (lambda data: data["files"].pop(SAMPLES), f"{SAMPLES}: not listed in the manifest"),
        (
            lambda data: data["variants"][0].update(engine="fp32.plan", backend="trt"),
            r"fp32\.plan: not listed in the manifest",
        ),
        (lambda data: data["variants"][0].update(engine="fp32.plan"), "does not say which backend"),
        (lambda data: data["variants"].clear(), "variants: .*at least 1"),
        (lambda data: data["variants"][0].update(precision="fp64"), "precision"),
        (lambda data: data["variants"][0].update(precision="fp16"), "manifest.json: variants: none is fp32"),
        (lambda data: data["variants"][0].update(name="../../x"), r"\.\./\.\./x"),
        (lambda data: data["variants"][0]["parity"].update(logit_share=0.0), "logit_share"),
        (lambda data: data["model"]["classes"].pop(), "the architecture takes images .* knows 3 classes"),
        (lambda data: data["model"]["image_shape"].reverse(), "image_shape"),
        (lambda data: data["profiles"][0].update(backends=[]), "backends"),
    ],
    ids=range(13),
)
def test_a_manifest_that_makes_no_sense_is_refused(bundle, change, message):
    """Catches a file that nobody has checked, two variants that share engines, a name that is a path, and a float32
    graph called fp16, by which no claim would be checked.
    """
    with pytest.raises(ArtefactError, match=message):
        read_bundle(edited(bundle, change))


def test_a_backend_chooses_among_the_variants_it_can_build(bundle, tmp_path):
    """Catches another backend's precision taken, and the first variant taken where another was asked for."""
    found = read_bundle(bundle)
    samples, reference = found.samples(found.manifest.variants[0])
    graph, twin = (bundle / GRAPH).read_bytes(), (bundle / TWIN).read_bytes()
    made = [
        make_variant("int8", graph=graph, twin=twin, reference=reference, backend="trt", engine=(".plan", b"plan")),
        make_variant("fp32", graph=graph, twin=twin, reference=reference),
        make_variant("fp16", graph=graph, twin=twin, reference=reference, parity=ParityLimits(logit_share=0.01)),
    ]
    manifest = write_bundle(tmp_path / "many", found.manifest, variants=made, samples=samples)
    again = read_bundle(tmp_path / "many")
    assert again.manifest == manifest
    assert [v.name for v in manifest.variants] == ["int8-trt", "fp32", "fp16"]
    assert (tmp_path / "many" / "int8-trt.engine.plan").read_bytes() == b"plan"
    assert manifest.variant_for("trt", "signed").name == "int8-trt"
    assert manifest.variant_for("onnx", "unsigned").name == "fp32"
    assert manifest.variant_for("onnx", "unsigned", "fp16").parity.logit_share == 0.01
    with pytest.raises(UnknownNameError, match="known: fp16, fp32"):
        manifest.variant_for("onnx", "unsigned", "int8-trt")


def stored(bundle: Bundle):
    return bundle.samples(bundle.manifest.variants[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(19, np.int64)}, r"pixels is .*\(20, 1, 8, 8\): expected uint8 \(19, 1, 8, 8\)"),
        ({"pixels": np.zeros((20, 1, 8, 8), np.float32)}, "pixels is float32 .*expected uint8"),
        ({"pixels": np.zeros((20, 64), np.uint8), "images_adv": None, "host_robust": None}, r"expected \(n, c, h, w\)"),
        ({"images_adv": np.full((20, 1, 8, 8), np.nan, np.float32)}, "images_adv holds NaN"),
        ({"images_adv": np.zeros((20, 1, 4, 4), np.float32)}, r"images_adv .*expected float32 \(20, 1, 8, 8\)"),
        ({"images_adv": np.full((20, 1, 8, 8), 1.5, np.float32)}, r"within \[0, 1\]"),
        ({"images_adv": np.full((20, 1, 8, 8), -0.1, np.float32)}, r"within \[0, 1\]"),
        ({"images_adv": None}, "go together, and one is missing"),
        ({"host_robust": None}, "go together, and one is missing"),
        ({"host_robust": np.zeros((20, 2), np.bool_)}, r"host_robust .*expected bool"),
        ({"labels": np.full(20, -1)}, "labels begin at -1: there are no such classes"),
        ({"labels": np.zeros((), np.int64)}, "labels"),
        ({"labels": np.zeros(0, np.int64), "pixels": np.zeros((0, 1, 8, 8), np.uint8)}, "labels is int64"),
    ],
    ids=range(13),
)
def test_samples_that_make_no_sense_are_refused(bundle, tmp_path, changes, message):
    """Catches images out of range and arrays of unequal length, which numpy would broadcast or cut."""
    samples = replace(stored(read_bundle(bundle))[0], **changes)
    path = tmp_path / "samples.npz"
    path.write_bytes(arrays_bytes(samples))
    with pytest.raises(ArtefactError, match=message):
        read_samples(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": np.full((20, 3), np.inf, np.float32)}, "logits holds NaN or infinite"),
        ({"logits": np.zeros((20, 3), np.float64)}, "float64"),
        ({"logits": np.zeros(20, np.float32)}, r"logits is float32 \(20,\)"),
        ({"logits_adv": np.zeros((20, 7), np.float32)}, r"logits_adv .*expected float32 \(20, 3\)"),
    ],
    ids=range(4),
)
def test_reference_logits_that_make_no_sense_are_refused(bundle, tmp_path, changes, message):
    """Catches a reference that no engine could be compared with, or that every engine would equal."""
    reference = replace(stored(read_bundle(bundle))[1], **changes)
    path = tmp_path / "reference.npz"
    path.write_bytes(arrays_bytes(reference))
    with pytest.raises(ArtefactError, match=message):
        read_reference(path)


@pytest.mark.parametrize(
    ("in_samples", "in_reference", "shape", "classes", "message"),
    [
        ({}, {}, (1, 8, 8), 3, None),
        ({}, {}, (1, 8, 9), 3, "the model takes (1, 8, 9)"),
        ({}, {}, (1, 8, 8), 4, "expected (20, 4)"),
        ({}, {"logits": np.zeros((19, 3), np.float32)}, (1, 8, 8), 3, "expected (20, 3)"),
        ({"labels": np.full(20, 3)}, {}, (1, 8, 8), 3, "labels reach 3, the model has 3 classes"),
        ({}, {"logits_adv": None}, (1, 8, 8), 3, "go together, and one is missing"),
        ({"images_adv": None, "host_robust": None}, {}, (1, 8, 8), 3, "go together, and one is missing"),
        ({"images_adv": None, "host_robust": None}, {"logits_adv": None}, (1, 8, 8), 3, None),
        (
            {"host_robust": np.ones(20, np.bool_)},
            {"logits": np.zeros((20, 3), np.float32)},
            (1, 8, 8),
            3,
            "answer wrong",
        ),
    ],
    ids=range(9),
)
def test_samples_reference_and_model_fit_together(bundle, in_samples, in_reference, shape, classes, message):
    """Catches logits of other images, a class that the model does not have, and a claim that its logits deny."""
    samples, reference = stored(read_bundle(bundle))
    given = replace(samples, **in_samples), replace(reference, **in_reference)
    found = fit_problems(*given, shape, classes, host=True)
    assert not found if message is None else any(message in problem for problem in found)


def host_problems(adv: tuple[float, ...], *, held: bool, offset: float = 0.0, huge: float = 0.0) -> list[str]:
    """What is said of twenty images of class 0, of which all or none were held, with these adversarial logits."""
    logits = np.tile(np.float32([5, 0, 0]), (20, 1)) + np.float32(offset)
    logits[0, 0] += huge
    reference = Reference(logits=logits, logits_adv=np.tile(np.float32(adv), (20, 1)) + np.float32(offset))
    images = np.zeros((20, 1, 8, 8))
    samples = StoredSamples(
        pixels=images.astype(np.uint8),
        labels=np.zeros(20, np.int64),
        images_adv=images.astype(np.float32),
        host_robust=np.full(20, held),
    )
    return fit_problems(samples, reference, (1, 8, 8), 3, host=True)


@pytest.mark.parametrize(
    ("adv", "facts", "message"),
    [
        ((2, 1, 0), {"held": True}, None),
        ((1, 2, 0), {"held": False}, None),
        ((2, 1, 0), {"held": False}, "leaves out images that they hold: 20 of 20"),
        ((1, 2, 0), {"held": True}, "names images that the reference logits answer wrong: 20 of 20"),
        ((1.0005, 1, 0), {"held": False}, None),
        ((1, 1.0005, 0), {"held": True}, None),
        ((1.002, 1, 0), {"held": False}, "leaves out images"),
        ((2, 1, 0), {"held": False, "huge": 1e9}, "leaves out images"),
        ((2, 1, 0), {"held": False, "offset": 1e5}, "leaves out images"),
    ],
    ids=range(9),
)
def test_what_the_host_held_is_what_its_logits_say(adv, facts, message):
    """Catches a bundle that claims 2 of 150 held, against which any engine retains 5000 %, an honest one refused for an
    answer that another batch turns, and one huge logit or an offset that makes every answer such a one.
    """
    found = host_problems(adv, **facts)
    assert not found if message is None else any(message in problem for problem in found)


SIZES = {"LIMIT": (20 * 64 * 4 * 2 + 20 * 8 + 20 * 4, "the arrays take 10.2 KiB as float32"), "MOST": (20, "20 images")}
"""Of the small bundle's samples: pixels and adversarial images in float32, labels, and what was held."""


@pytest.mark.parametrize("limit", SIZES)
def test_more_samples_than_verify_has_room_for_are_refused_before_they_are_unpacked(
    bundle, tmp_path, monkeypatch, limit
):
    """Catches 265 KB of packed zeros that take a gigabyte, pixels counted as bytes, and a bundle written that cannot be
    read.
    """
    size, message = SIZES[limit]
    found, _ = stored(read_bundle(bundle))
    packed = tmp_path / "samples.npz"
    with np.load(bundle / SAMPLES) as archive:
        np.savez_compressed(packed, **archive)
    monkeypatch.setattr(stored_samples, limit, size)
    assert_array_equal(read_samples(packed).pixels, found.pixels)
    assert arrays_bytes(found)
    monkeypatch.setattr(stored_samples, limit, size - 1)
    monkeypatch.setattr(arrays.Archive, "read", None)
    with pytest.raises(ArtefactError, match=rf"samples\.npz: .*{message}.*fewer images \(--images\)"):
        read_samples(packed)
    with pytest.raises(ConfigError, match=f"{message}.*fewer images with --images"):
        arrays_bytes(found)


def test_more_logits_than_any_model_has_are_refused_before_they_are_unpacked(bundle, monkeypatch):
    """Catches a gigabyte of zeros beside samples that are small."""
    monkeypatch.setattr(stored_samples, "LOGITS_LIMIT", 20 * 3 * 4 * 2 - 1)
    with pytest.raises(ArtefactError, match=r"fp32\.reference\.npz: the arrays take 480 B"):
        read_reference(bundle / REFERENCE)


def test_the_samples_of_an_export_of_large_images_have_room():
    """Catches a limit that refuses what `edgerkd export` writes for a teacher and two further networks."""
    assert 5 * 4 * STORED_IMAGES * 3 * 224 * 224 + 12 * STORED_IMAGES <= stored_samples.LIMIT


def test_all_samples_are_taken_without_a_copy(bundle):
    """Catches a gigabyte of images held twice, and an order that is taken for all of them."""
    found, reference = stored(read_bundle(bundle))
    assert found.take(np.arange(20)) is found
    assert reference.take(np.arange(20)) is reference
    assert_array_equal(found.take(np.arange(20)[::-1]).pixels, found.pixels[::-1])
    assert len(found.take(np.arange(19))) == 19


def test_a_rounded_variant_may_answer_wrong_what_the_float32_model_resisted(bundle):
    """Catches an int8 bundle that is called damaged because rounding lost an image, and a float32 one that lies."""
    samples, reference = stored(read_bundle(bundle))
    given = (
        replace(samples, host_robust=np.ones(20, np.bool_)),
        replace(reference, logits=np.zeros((20, 3), np.float32)),
    )
    assert fit_problems(*given, (1, 8, 8), 3, host=False) == []
    assert fit_problems(*given, (1, 8, 8), 3, host=True) != []


def test_what_does_not_fit_is_an_artefact_error_that_names_the_file(bundle):
    """Catches a reader of each file alone: another bundle's reference is a good file by itself."""
    found = read_bundle(bundle)
    samples, _ = stored(found)
    (bundle / SAMPLES).write_bytes(arrays_bytes(replace(samples, labels=np.full(20, 3))))
    with pytest.raises(ArtefactError, match=r"(?s)samples\.npz: labels reach 3.*edgerkd export"):
        stored(found)


@pytest.mark.parametrize("cut", [10, 200])
def test_samples_that_are_cut_off_are_refused(bundle, tmp_path, cut):
    """Catches zipfile's own error, which is neither OSError nor ValueError."""
    path = tmp_path / "samples.npz"
    path.write_bytes((bundle / SAMPLES).read_bytes()[:-cut])
    with pytest.raises(ArtefactError, match=r"(not a readable .npz file|never loaded)"):
        read_samples(path)


@pytest.mark.parametrize(("read", "name"), [(read_samples, "pixels"), (read_reference, "logits")])
def test_objects_are_not_unpickled(tmp_path, read, name):
    """Catches allow_pickle, by which samples or a reference could run code."""
    path = tmp_path / "arrays.npz"
    np.savez(path, **{name: np.asarray([{"a": 1}], dtype=object)})
    with pytest.raises(ArtefactError, match=r"(not a readable .npz file|never loaded)"):
        read(path)


def test_bytes_are_read_back_exactly(bundle, tmp_path):
    """Catches a change of type or rounding on the way, and an absent array that comes back as one."""
    samples, reference = stored(read_bundle(bundle))
    (tmp_path / "s.npz").write_bytes(arrays_bytes(samples))
    (tmp_path / "r.npz").write_bytes(arrays_bytes(reference))
    assert_array_equal(read_samples(tmp_path / "s.npz").images_adv, samples.images_adv)
    assert_array_equal(read_samples(tmp_path / "s.npz").host_robust, samples.host_robust)
    assert_array_equal(read_reference(tmp_path / "r.npz").logits_adv, reference.logits_adv)
    (tmp_path / "s.npz").write_bytes(arrays_bytes(replace(samples, images_adv=None, host_robust=None)))
    again = read_samples(tmp_path / "s.npz")
    assert (again.images_adv, again.host_robust) == (None, None)
    assert_array_equal(again.pixels, samples.pixels)


def test_a_backend_made_for_another_version_is_refused_with_what_it_lacks(monkeypatch):
    """Catches an attribute that is missed in the middle of a verification."""
    entry = EntryPoint(name="old", value="types:SimpleNamespace", group=plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    with pytest.raises(MissingDependencyError, match=r"backend .old..*has no name, suffix, placement.*newest release"):
        plugins.load_backend("old")
