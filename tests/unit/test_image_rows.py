"""Images that stay in their file: what is asked for is what lies there, and no more is read."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edgerkd.bundle import samples as stored_samples
from edgerkd.bundle.image_rows import ImageRows, in_batches, rows_of, rows_of_pixels
from edgerkd.bundle.samples import StoredSamples, arrays_bytes, read_samples
from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.files.arrays import Archive

SHAPE = (9, 2, 3, 4)
GENERATOR = np.random.default_rng(0)
ADV = GENERATOR.random((4, *SHAPE), np.float32)
SAMPLES = StoredSamples(
    pixels=GENERATOR.integers(0, 256, SHAPE, dtype=np.uint8),
    labels=np.arange(9) % 3,
    images_adv=ADV[0],
    host_robust=np.arange(9) > 4,
    transfers=ADV[1:],
)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Samples in a file, of which every float32 image counts as many."""
    monkeypatch.setattr(stored_samples, "_SMALL", 0)

    def write(samples: StoredSamples = SAMPLES):
        path = tmp_path / "samples.npz"
        path.write_bytes(arrays_bytes(samples))
        return path

    return write


@pytest.mark.parametrize(
    "rows", [3, slice(2, 5), np.array([8, 0, 0]), np.arange(9) % 2 == 0, np.array([], np.int64), slice(4, 99)], ids=str
)
def test_rows_are_those_that_an_array_has(written, rows):
    """Catches a place in the file that is a row off, and rows in the order of the file for the one asked for."""
    found = read_samples(written())
    assert isinstance(found.images_adv, ImageRows)
    assert isinstance(found.transfers, tuple)
    for lazy, array in zip((found.images_adv, *found.transfers, found.floats), (*ADV, SAMPLES.images), strict=True):
        assert_array_equal(lazy[rows], array[rows])
        assert lazy[rows].dtype == np.float32
        assert (lazy.shape, len(lazy), lazy.size) == (array.shape, 9, array.size)
        assert_array_equal(np.asarray(lazy), array)


def test_rows_of_rows_are_those_of_the_first(written):
    """Catches an index that counts in the file where it should in what was taken."""
    found, order = read_samples(written()), np.array([7, 1, 4, 2])
    taken = found.take(order)
    assert_array_equal(taken.images_adv[np.array([3, 0])], ADV[0][[2, 7]])
    assert [each[1].tolist() for each in taken.transfers] == [each[1].tolist() for each in ADV[1:]]
    assert_array_equal(rows_of(taken.images_adv, np.array([2]))[0], rows_of(ADV[0], order)[2])
    assert_array_equal(arrays_bytes(taken), arrays_bytes(SAMPLES.take(order)))


def test_all_images_are_never_in_memory_at_once():
    """Catches a conversion of the whole for one batch of it."""
    asked: list[int] = []
    rows = rows_of_pixels(SAMPLES.pixels)
    watched = ImageRows(
        lambda rows: asked.append(len(rows)) or np.zeros((len(rows), 1, 1, 1), np.float32), np.arange(9), (1, 1, 1)
    )
    assert [len(batch) for batch in in_batches(watched, 4)] == [4, 4, 1]
    assert asked == [4, 4, 1]
    assert sum(1 for _ in rows) == 9


def test_a_file_that_changes_is_not_read_on(written):
    """Catches images of another file under the digest of the first."""
    path = written()
    found = read_samples(path)
    path.write_bytes(arrays_bytes(replace(SAMPLES, images_adv=ADV[3])))
    with pytest.raises(ArtefactError, match=r"samples\.npz: it was changed while it was read"):
        found.images_adv[:2]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("images_adv", np.nan, "images_adv holds NaN or infinite values"),
        ("transfers", np.inf, "transfers holds NaN or infinite values"),
        ("transfers", 1.5, r"transfers must be within \[0, 1\]"),
        ("images_adv", -0.1, r"images_adv must be within \[0, 1\]"),
    ],
)
def test_values_are_checked_though_they_stay_in_the_file(written, name, value, said):
    """Catches a check of what is in memory alone, or of the first block."""
    array = getattr(SAMPLES, name).copy()
    array.flat[-1] = value
    with pytest.raises(ArtefactError, match=said):
        read_samples(written(replace(SAMPLES, **{name: array})))


def test_a_byte_that_flips_is_found(written):
    """Catches an array that is never read to its end, where the checksum is."""
    path = written()
    content = bytearray(path.read_bytes())
    content[content.index(ADV[0].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="images_adv is damaged"):
        read_samples(path)


def test_packed_arrays_that_take_much_memory_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    """Catches a bundle of 265 KB that takes a gigabyte."""
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, pixels=np.zeros(SHAPE, np.uint8), labels=np.zeros(9, np.int64))
    monkeypatch.setattr(stored_samples, "PACKED", 9 * 24 + 9 * 8)
    assert len(read_samples(path)) == 9
    monkeypatch.setattr(stored_samples, "PACKED", 9 * 24 + 9 * 8 - 1)
    monkeypatch.setattr(Archive, "read", None)
    monkeypatch.setattr(Archive, "blocks", None)
    with pytest.raises(ArtefactError, match=r"288 B of arrays are packed, and at most 287 B may be"):
        read_samples(path)


def test_more_images_than_can_be_held_beside_adversarial_ones_are_refused(written, monkeypatch):
    """Catches pixels that fit, and an adversarial image for each in float32 that does not."""
    path, size = written(), 4 * 9 * 24
    monkeypatch.setattr(stored_samples, "HELD", size)
    read_samples(path)
    monkeypatch.setattr(stored_samples, "HELD", size - 1)
    monkeypatch.setattr(Archive, "blocks", None)
    with pytest.raises(ArtefactError, match=r"the images take 864 B as float32, and at most 863 B are allowed"):
        read_samples(path)
    with pytest.raises(ConfigError, match="take fewer images"):
        arrays_bytes(SAMPLES)
