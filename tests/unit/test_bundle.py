"""A bundle is read whole and unchanged, or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from edgerkd.bundle.read import read_bundle
from edgerkd.bundle.replay import read_replay, replay_bytes
from edgerkd.core.errors import ArtefactError
from edgerkd.core.manifest import MANIFEST, REPLAY, STUDENT_ONNX, TWIN_ONNX
from tests.bundles import write_small_bundle


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
    assert set(found.manifest.files) == {STUDENT_ONNX, TWIN_ONNX, REPLAY}
    replay = found.replay()
    assert len(replay) == 20
    assert np.abs(replay.images_adv - replay.images).max() <= float(found.manifest.threat_model.eps) + 1e-6


def test_writing_twice_gives_the_same_bytes(bundle, tmp_path):
    """Catches a time stamp or an unseeded number, which would give one student two digests."""
    write_small_bundle(tmp_path / "again")
    for name in (STUDENT_ONNX, TWIN_ONNX, REPLAY, MANIFEST):
        assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes(), name


@pytest.mark.parametrize("name", [STUDENT_ONNX, TWIN_ONNX, REPLAY, MANIFEST])
def test_a_missing_file_is_named(bundle, name):
    """Catches a reader that fails only when it comes to need the file."""
    (bundle / name).unlink()
    with pytest.raises(ArtefactError, match=rf"{name}( is|:) missing"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", [STUDENT_ONNX, TWIN_ONNX, REPLAY])
def test_a_truncated_file_is_named(bundle, name):
    """Catches a copy that was cut off."""
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content[:-10])
    with pytest.raises(ArtefactError, match=f"{name}: {len(content) - 10} bytes.*truncated"):
        read_bundle(bundle)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([STUDENT_ONNX, TWIN_ONNX, REPLAY]), st.floats(0, 0.9999), st.integers(1, 255))
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
    (bundle / STUDENT_ONNX).unlink()
    (bundle / REPLAY).write_bytes(b"")
    with pytest.raises(ArtefactError, match=r"(?s)2 problems.*student.onnx.*replay.npz.*edgerkd export"):
        read_bundle(bundle)


def test_a_manifest_cannot_point_out_of_its_folder(bundle):
    """Catches a bundle that has a file of the device read and its digest shown."""
    path = bundle / MANIFEST
    path.write_text(path.read_text().replace(f'"{REPLAY}"', '"../../etc/passwd"'))
    with pytest.raises(ArtefactError, match="not a plain file name"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [('"schema": 1', '"schema": 2', "schema 2"), ('"opset"', '"opsett"', "opsett: unknown key"), ("{", "", "JSON")],
)
def test_a_manifest_of_another_make_is_refused(bundle, old, new, message):
    """Catches a manifest that is only half read."""
    path = bundle / MANIFEST
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ArtefactError, match=message):
        read_bundle(bundle)


def test_a_folder_that_is_no_bundle_says_how_to_make_one(tmp_path):
    """Catches a bare FileNotFoundError."""
    with pytest.raises(ArtefactError, match=r"is not a bundle, .*: make one with `edgerkd export`"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(19, np.int64)}, r"images is .*\(19, 1, 8, 8\)"),
        ({"images": np.full((20, 1, 8, 8), np.nan, np.float32)}, "images holds NaN"),
        ({"logits": np.full((20, 3), np.inf, np.float32)}, "logits holds NaN or infinite"),
        ({"images_adv": np.zeros((20, 1, 4, 4), np.float32)}, r"images_adv .*expected float32 \(20, 1, 8, 8\)"),
        ({"logits_adv": np.zeros((20, 7), np.float32)}, r"logits_adv .*expected float32 \(20, 3\)"),
        ({"host_robust": np.zeros((20, 2), np.bool_)}, r"host_robust .*expected bool"),
        ({"labels": np.full(20, 3)}, "no such classes"),
        ({"labels": np.zeros((), np.int64)}, "labels"),
        ({"logits": np.zeros((20, 3), np.float32), "host_robust": np.ones(20, np.bool_)}, "answer wrong"),
        ({"images_adv": np.full((20, 1, 8, 8), 1.5, np.float32)}, r"within \[0, 1\]"),
        ({"logits": np.zeros((20, 3), np.float64)}, "float64"),
    ],
)
def test_a_replay_set_that_makes_no_sense_is_refused(bundle, tmp_path, changes, message):
    """Catches images out of range and arrays of unequal length, which numpy would broadcast or cut."""
    replay = replace(read_bundle(bundle).replay(), **changes)
    path = tmp_path / "replay.npz"
    path.write_bytes(replay_bytes(replay))
    with pytest.raises(ArtefactError, match=message):
        read_replay(path)


@pytest.mark.parametrize("cut", [10, 200])
def test_a_replay_set_that_is_cut_off_is_refused(bundle, tmp_path, cut):
    """Catches zipfile's own error, which is neither OSError nor ValueError."""
    path = tmp_path / "replay.npz"
    path.write_bytes(replay_bytes(read_bundle(bundle).replay())[:-cut])
    with pytest.raises(ArtefactError, match=r"(not a readable .npz file|never loaded)"):
        read_replay(path)


def test_a_replay_set_with_objects_in_it_is_not_unpickled(tmp_path):
    """Catches allow_pickle, by which a replay set could run code."""
    path = tmp_path / "replay.npz"
    np.savez(path, images=np.asarray([{"a": 1}], dtype=object))
    with pytest.raises(ArtefactError, match=r"(not a readable .npz file|never loaded)"):
        read_replay(path)


def test_replay_bytes_are_read_back_exactly(bundle, tmp_path):
    """Catches a change of type or rounding on the way."""
    replay = read_bundle(bundle).replay()
    (tmp_path / "r.npz").write_bytes(replay_bytes(replay))
    again = read_replay(tmp_path / "r.npz")
    assert_array_equal(again.images_adv, replay.images_adv)
    assert_array_equal(again.host_robust, replay.host_robust)
