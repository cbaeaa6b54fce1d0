"""Images for ranges: the data's own or a user's, never those that are judged, and never too few."""

import numpy as np
import pytest
from PIL import Image

from edgerkd.core.data_request import DataRequest
from edgerkd.core.errors import ConfigError
from edgerkd.core.progress import Silent
from edgerkd.data.calibration import LEAST, MOST, check_enough, read_calibration, spare_images
from edgerkd.data.samples import Checked, Samples, image_digests

SHAPE = (8, 8, 3)
RNG = np.random.default_rng(0)


def pixels(n: int, shape=SHAPE) -> np.ndarray:
    return RNG.integers(0, 256, (n, *shape), dtype=np.uint8)


def samples(images) -> Samples:
    n = len(images)
    return Samples(pixels=images, rows=np.arange(n), labels=np.zeros(n, np.int64), digests=image_digests(images))


def checked(train: Samples, test: Samples) -> Checked:
    return Checked(name="any", train=train, val=None, test=test, classes=("a", "b"), size=None, notes=())


def test_no_judged_image_is_measured_on_even_where_it_stands_twice():
    """Catches ranges fitted to the images of the verdict, through a copy of them as well."""
    images = pixels(100)
    every = samples(np.concatenate([images, images[:10]]))
    judged = every.take(np.arange(40))
    found = spare_images(checked(every, every), judged, seed=0)
    assert len(found) == 60
    assert not {image.tobytes() for image in found} & {image.tobytes() for image in judged.images}


def test_a_split_for_training_is_taken_before_the_one_that_is_judged():
    """Catches test images used where there are others, and more than is needed."""
    train, test = samples(pixels(MOST + 100)), samples(pixels(50))
    found = spare_images(checked(train, test), test.take(np.arange(10)), seed=0)
    assert len(found) == MOST
    assert {image.tobytes() for image in found} <= {image.tobytes() for image in train.images}


def read(path) -> np.ndarray:
    return read_calibration(str(path), DataRequest(source="digits"), SHAPE, progress=Silent())


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": pixels(40)},
        {"x_train": pixels(40), "y_train": np.zeros(40)},
        {"anything": pixels(40)},
        {"images": (pixels(40) / 255).astype(np.float32)},
    ],
)
def test_a_file_needs_images_and_no_labels(tmp_path, arrays):
    """Catches labels that are asked for, one blessed name, and floats in [0, 1] taken for pixels."""
    np.savez(tmp_path / "some.npz", **arrays)
    found = read(tmp_path / "some.npz")
    assert found.dtype == np.uint8
    assert found.shape == (40, *SHAPE)
    assert found.max() > 200


def test_pictures_of_any_size_lie_anywhere_below_a_folder(tmp_path):
    """Catches classes that are asked for, and pictures that are not brought to the data's size."""
    for number in range(LEAST):
        folder = tmp_path / str(number % 3)
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels(1, (12, 20, 3))[0]).save(folder / f"{number}.png")
    assert read(tmp_path).shape == (LEAST, *SHAPE)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": pixels(LEAST - 1)}, r"31 images .* at least 32 .*--calibration"),
        ({"images": pixels(40, (9, 8, 3))}, r"are \(9, 8, 3\), and the data's \(8, 8, 3\)"),
        ({"images": pixels(40, (8, 8))}, r"are \(8, 8, 1\), and the data's \(8, 8, 3\)"),
        ({"images": pixels(40).transpose(0, 3, 1, 2)}, "channels first: write"),
        ({"images": pixels(40).astype(np.float32)}, r"np\.rint"),
        ({"images": np.full((40, *SHAPE), np.nan, np.float32)}, "NaN"),
        ({"images": pixels(40).reshape(40, -1)}, "flat row of numbers"),
        ({}, "no array in it"),
    ],
)
def test_what_tells_no_range_is_refused_with_the_fix(tmp_path, arrays, message):
    """Catches ranges of other images, of another scale, or of almost none."""
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(ConfigError, match=rf"some\.npz: .*{message}" if message else message):
        read(tmp_path / "some.npz")


@pytest.mark.parametrize(("name", "message"), [("gone.npz", "gone"), ("notes.txt", "takes an .npz file or a folder")])
def test_what_is_no_data_is_refused(tmp_path, name, message):
    """Catches a bare FileNotFoundError, and a text file that is read."""
    (tmp_path / "notes.txt").write_text("no images")
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / name)


def test_an_empty_folder_is_too_little(tmp_path):
    """Catches a division by zero."""
    with pytest.raises(ConfigError, match="calibration images"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="0 images"):
        check_enough(np.empty((0, *SHAPE), np.uint8), "here")
