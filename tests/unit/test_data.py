"""Data: the embedded digits, files, folders, augmentation."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.datasets import utils

from edgerkd.core.errors import ConfigError, MissingDependencyError, UnknownNameError
from edgerkd.data.augment import random_crop, random_flip
from edgerkd.data.dataset import to_float
from edgerkd.data.load import load_dataset


def test_the_digits_are_real_whole_and_split_without_overlap():
    """Catches images lost or shared between splits, and grey levels cut off."""
    data = load_dataset("digits")
    assert [len(split) for split in (data.train, data.val, data.test)] == [1200, 200, 397]
    assert data.train.images.max() == 255
    assert data.train.images.dtype == torch.uint8
    rows = torch.cat([s.images.flatten(1) for s in (data.train, data.val, data.test)])
    assert len(rows.unique(dim=0)) == 1797
    assert data.classes == 10
    assert load_dataset("digits").sha256 == data.sha256


def test_an_unknown_name_suggests_the_nearest():
    """Catches a bare KeyError."""
    with pytest.raises(UnknownNameError, match="'cifar1': did you mean 'cifar10'"):
        load_dataset("cifar1")


def arrays(n=40, classes=2):
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (n, 6, 5, 3), dtype=np.uint8),
        "y_train": np.arange(n) % classes,
        "x_test": rng.integers(0, 256, (10, 6, 5, 3), dtype=np.uint8),
        "y_test": np.arange(10) % classes,
    }


def test_an_npz_file_is_read_channels_first(tmp_path):
    """Catches height and channels mixed up, and a test split that leaks into training."""
    given = arrays()
    np.savez(tmp_path / "mine.npz", **given)
    data = load_dataset(str(tmp_path / "mine.npz"))
    assert data.name == "mine"
    assert tuple(data.train.images.shape) == (36, 3, 6, 5)
    assert len(data.val) == 4
    assert_close(data.test.images, torch.from_numpy(given["x_test"].transpose(0, 3, 1, 2)))
    assert_close(data.val.images, torch.from_numpy(given["x_train"][-4:].transpose(0, 3, 1, 2)))


def test_grey_images_get_a_channel(tmp_path):
    """Catches (n, h, w) taken for (n, h, c)."""
    given = {k: v[..., 0] if k.startswith("x") else v for k, v in arrays().items()}
    np.savez(tmp_path / "grey.npz", **given)
    assert tuple(load_dataset(str(tmp_path / "grey.npz")).train.images.shape[1:]) == (1, 6, 5)


def test_a_file_sorted_by_class_still_validates_on_every_class(tmp_path):
    """Catches a validation split of the last class alone."""
    given = arrays(classes=4)
    given["y_train"] = np.sort(given["y_train"])
    np.savez(tmp_path / "sorted.npz", **given)
    data = load_dataset(str(tmp_path / "sorted.npz"))
    assert len(data.val.labels.unique()) > 1
    assert len(data.train) + len(data.val) == 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None}, "no array named x_train"),
        ({"x_train": np.zeros((40, 6, 5, 3), np.float32)}, r"x_train is float32 \(40, 6, 5, 3\): expected uint8"),
        ({"y_train": np.zeros(39, int)}, "40 images but 39 labels"),
    ],
)
def test_a_bad_npz_names_file_and_array(tmp_path, changes, message):
    """Catches an error from deep inside NumPy."""
    given = {k: v for k, v in {**arrays(), **changes}.items() if v is not None}
    np.savez(tmp_path / "bad.npz", **given)
    with pytest.raises(ConfigError, match=f"bad.*{message}"):
        load_dataset(str(tmp_path / "bad.npz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.zeros((40, 2), int)}, "expected whole numbers"),
        ({"y_train": np.full(40, 0.5)}, "expected whole numbers"),
        ({"y_train": np.array(["cat"] * 40)}, "expected whole numbers"),
        ({"y_train": np.array(3)}, "expected whole numbers"),
        ({"y_train": np.full(40, -1)}, "counted from 0"),
        ({"x_test": np.zeros((10, 7, 5, 3), np.uint8)}, "differ in size"),
        ({"x_train": np.zeros((1, 6, 5, 3), np.uint8), "y_train": np.zeros(1, int)}, "two at least"),
    ],
)
def test_labels_and_sizes_that_make_no_sense_are_refused(tmp_path, changes, message):
    """Catches a traceback from deep inside, and labels that are rounded in silence."""
    np.savez(tmp_path / "bad.npz", **{**arrays(), **changes})
    with pytest.raises(ConfigError, match=message):
        load_dataset(str(tmp_path / "bad.npz"))


def test_labels_in_a_column_are_taken(tmp_path):
    """Catches Keras's way of storing CIFAR-10 refused: labels (n, 1)."""
    given = arrays()
    np.savez(tmp_path / "keras.npz", **{**given, "y_train": given["y_train"][:, None]})
    assert load_dataset(str(tmp_path / "keras.npz")).classes == 2


def test_damaged_archives_are_refused(tmp_path):
    """Catches zipfile's own error for a truncated file, and an .npy file under another name."""
    np.savez(tmp_path / "a.npz", **arrays())
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-50])
    np.save(tmp_path / "b.npy", np.zeros(3))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    for name in ("a.npz", "b.npz"):
        with pytest.raises(ConfigError, match=f"{name}: not a readable"):
            load_dataset(str(tmp_path / name))


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    """Catches Pillow's own error."""
    folder(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_dataset(str(tmp_path / "pets"))


def test_a_file_that_is_no_npz(tmp_path):
    """Catches np.load's fallback to pickle."""
    (tmp_path / "x.npz").write_bytes(b"not a zip")
    with pytest.raises(ConfigError, match=r"x\.npz: not a readable"):
        load_dataset(str(tmp_path / "x.npz"))


def folder(path, sizes=((8, 8),), per_class=10):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (path / name).mkdir(parents=True)
        for index in range(per_class):
            w, h = sizes[index % len(sizes)]
            Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)).save(path / name / f"{index}.png")


def test_a_folder_of_images(tmp_path):
    """Catches classes that meet in one split only, and images that are counted twice."""
    folder(tmp_path / "pets")
    data = load_dataset(str(tmp_path / "pets"))
    assert data.classes == 2
    assert len(data.train) + len(data.val) + len(data.test) == 20
    assert len(data.test) == 4
    assert len(data.train.labels.unique()) == 2


def test_a_folder_with_its_own_test_split(tmp_path):
    """Catches test images used for training."""
    folder(tmp_path / "pets" / "train")
    folder(tmp_path / "pets" / "test", per_class=3)
    data = load_dataset(str(tmp_path / "pets"))
    assert len(data.test) == 6
    assert len(data.train) + len(data.val) == 20


def test_images_of_unequal_size_name_two_files(tmp_path):
    """Catches a silent resize, which changes what the radius means."""
    folder(tmp_path / "pets", sizes=((8, 8), (9, 8)))
    with pytest.raises(ConfigError, match=r"differ in size: .*png is .*png is .*resize"):
        load_dataset(str(tmp_path / "pets"))


def test_an_empty_folder_says_what_was_wanted(tmp_path):
    """Catches torchvision's bare error."""
    with pytest.raises(ConfigError, match=r"DIR/CLASS/image\.png"):
        load_dataset(str(tmp_path))


def test_cifar10_is_found_as_npz_in_the_data_folder(tmp_path, monkeypatch):
    """Catches a download where the file is there."""
    np.savez(tmp_path / "cifar10.npz", **arrays())
    monkeypatch.setenv("EDGERKD_DATA", str(tmp_path))
    assert load_dataset("cifar10").name == "cifar10"


def test_cifar10_in_torchvisions_layout_is_read_with_its_checksums(tmp_path, monkeypatch):
    """Catches a folder of somebody's pickles taken for CIFAR-10: torchvision's MD5 check must be what refuses it."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not the real one")

    def closed(*args, **kwargs):
        raise OSError("network closed")

    monkeypatch.setattr(utils, "_urlretrieve", closed)
    with pytest.raises(MissingDependencyError, match=r"cifar10\.npz"):
        load_dataset(str(tmp_path))


def test_crops_shift_each_image_by_its_own_amount_within_the_padding():
    """Catches one shift for the whole batch, and rows shifted along columns."""
    image = torch.zeros(1, 2, 5, 5, dtype=torch.uint8)
    image[0, :, 2, 2] = 200
    found = random_crop(image.expand(400, -1, -1, -1), 2, torch.Generator().manual_seed(0))
    assert found.shape == (400, 2, 5, 5)
    where = [tuple(map(int, f[0].nonzero()[0])) for f in found]
    assert set(where) == {(r, c) for r in range(5) for c in range(5)}
    assert_close(found[:, 0], found[:, 1])


def test_flips_mirror_left_to_right_about_half_of_the_images():
    """Catches a flip of the wrong axis, of all or of none."""
    images = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2).expand(300, -1, -1, -1)
    found = random_flip(images, torch.Generator().manual_seed(0))
    mirrored = torch.tensor([[1, 0], [3, 2]], dtype=torch.uint8)
    flipped = sum(bool((f[0] == mirrored).all()) for f in found)
    assert 100 < flipped < 200
    assert sum(bool((f[0] == images[0, 0]).all()) for f in found) == 300 - flipped


def test_float_images_are_in_zero_to_one():
    """Catches a division by 256."""
    assert to_float(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item() == 1.0


def test_images_that_are_all_one_colour_are_refused_by_the_files_name(tmp_path):
    """Catches a training that is begun, and diverges or learns nothing."""
    labels = np.arange(20) % 2
    images = np.full((20, 8, 8), 7, np.uint8)
    np.savez(tmp_path / "flat.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(ConfigError, match=r"flat\.npz: x_train: every pixel of every image is 7"):
        load_dataset(str(tmp_path / "flat.npz"))
