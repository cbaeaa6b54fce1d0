"""Data: one door for everything that comes in. Tables of what is refused, what is said, and how splits are drawn."""

import gzip
import os
import re
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image
from torch.testing import assert_close
from torchvision.datasets import utils

from edgerkd.core.customary import CUSTOMARY
from edgerkd.core.data_request import DataRequest, parse_size
from edgerkd.core.errors import ConfigError, MissingDependencyError, StorageError, UnknownNameError
from edgerkd.core.progress import Silent
from edgerkd.core.units import Radius
from edgerkd.data import cache, npz
from edgerkd.data.dataset import dataset_from_checked, to_float
from edgerkd.data.folder import split_of
from edgerkd.data.load import load_data
from edgerkd.data.samples import Checked, Samples, image_digests
from edgerkd.data.split import draw, hold_out, shares
from edgerkd.jobs.class_counts import class_counts
from edgerkd.jobs.data import open_data
from tests.listening import Listening


def load(path: Path | str, **request) -> Checked:
    return load_data(DataRequest(source=str(path), **request), progress=Silent())


def refused(path: Path | str, **request) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, **request)
    assert Path(path).name in str(caught.value)
    return str(caught.value)


def arrays(n: int = 40, classes: int = 2, **changes):
    rng = np.random.default_rng(0)
    given = {
        "x_train": rng.integers(0, 256, (n, 6, 5, 3), dtype=np.uint8),
        "y_train": np.arange(n) % classes,
        "x_test": rng.integers(0, 256, (10, 6, 5, 3), dtype=np.uint8),
        "y_test": np.arange(10) % classes,
    }
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


def saved(folder: Path, **changes) -> Path:
    np.savez(folder / "mine.npz", **arrays(**changes))
    return folder / "mine.npz"


def test_other_pictures_of_the_same_names_sizes_and_times_are_other_data(tmp_path):
    """Catches a cache that takes one folder for another, and classes exchanged that nobody notices."""
    roots = [tmp_path / name for name in ("one", "two")]
    for root in roots:
        for name in ("cat", "dog"):
            for index in range(5):
                path = root / name / f"{index}.bmp"
                picture(path, seed=zlib.crc32(root.name.encode()))
                os.utime(path, (1e9, 1e9))
    one, two = (load(root) for root in roots)
    assert not (one.train.images == two.train.images).all()
    (roots[0] / "cat").rename(roots[0] / "aside")
    (roots[0] / "dog").rename(roots[0] / "cat")
    (roots[0] / "aside").rename(roots[0] / "dog")
    again = load(roots[0])
    assert {row.tobytes() for row in one.train.digests[one.train.labels == 0]} & {
        row.tobytes() for row in again.train.digests[again.train.labels == 1]
    }


@pytest.mark.parametrize("flags", [{"size": (8, 8)}, {"fit": "stretch"}, {"group_by": "^a"}, {"skip_bad": True}])
def test_what_is_about_pictures_is_refused_for_arrays(flags, tmp_path):
    """Catches a flag without effect, and a resize that is recorded and was never done."""
    assert "is for pictures in a folder: leave it out" in refused(saved(tmp_path), **flags)
    assert load(saved(tmp_path)).size is None


# npz: what is refused, and with which words


IMAGES = arrays()["x_train"]
BOTH = np.arange(40) % 2
REFUSED = {
    "no labels": ({"y_train": None}, "there is no array named y_train"),
    "labels of validation without values": ({"y_val": BOTH[:3]}, "there is no array named x_val"),
    "values of validation without labels": ({"x_val": IMAGES[:3]}, "there is no array named y_val"),
    "floats of a byte's range": ({"x_train": IMAGES.astype(np.float32)}, "np.rint(x_train).astype(np.uint8)"),
    "floats around zero": ({"x_train": IMAGES / np.float32(127.5) - 1}, "(x_train + 1) / 2"),
    "normalised floats": ({"x_train": (IMAGES / 255 - 0.47) / 0.2}, "undo the normalisation"),
    "floats just above one": ({"x_train": IMAGES / 250}, "x_train ranges from"),
    "NaN": ({"x_train": np.where(IMAGES[0, 0, 0, 0] == IMAGES, np.nan, IMAGES / 255)}, "NaN or infinite"),
    "infinity": ({"x_train": np.where(IMAGES == 7, np.inf, IMAGES / 255)}, "NaN or infinite"),
    "only zero and one": ({"x_train": (IMAGES > 127).astype(np.uint8)}, "x_train.astype(np.uint8) * 255"),
    "truth values": ({"x_train": IMAGES > 127}, "x_train.astype(np.uint8) * 255"),
    "16 bits": ({"x_train": IMAGES.astype(np.uint16) * 257}, "np.rint(x_train * (255 / 65535)).astype(np.uint8)"),
    "whole numbers of another type": ({"x_train": IMAGES.astype(np.int64)}, "x_train.astype(np.uint8)"),
    "negative numbers": ({"x_train": IMAGES.astype(np.int16) - 128}, "scale it to 0 to 255"),
    "12 bits": ({"x_train": IMAGES.astype(np.int16) * 16}, "np.rint(x_train * (255 / 4095)).astype(np.uint8)"),
    "divided by 255 twice": ({"x_train": IMAGES / np.float32(255**2)}, "divided by 255 twice"),
    "text for images": ({"x_train": np.full((40, 6, 6), "a")}, "expected uint8"),
    "one colour": ({"x_train": np.full((40, 6, 5, 3), 7, np.uint8)}, "every pixel of every image is 7"),
    "channels first": ({"x_train": IMAGES.transpose(0, 3, 1, 2)}, "x_train.transpose(0, 2, 3, 1)"),
    "grey, channels first": ({"x_train": IMAGES[..., :1].transpose(0, 3, 1, 2)}, "x_train.transpose(0, 2, 3, 1)"),
    "opacity": ({"x_train": np.concatenate([IMAGES, IMAGES[..., :1]], 3)}, "x_train[..., :3]"),
    "opacity, channels first": ({"x_train": np.zeros((40, 4, 6, 5), np.uint8)}, "the last of them opacity"),
    "grey with opacity": ({"x_train": IMAGES[..., :2]}, "x_train[..., :1]"),
    "five channels": ({"x_train": np.concatenate([IMAGES, IMAGES[..., :2]], 3)}, "5 channels"),
    "rows of pixels": ({"x_train": IMAGES[..., 0][:, :5].reshape(40, 25)}, "x_train.reshape(-1, 5, 5)"),
    "rows that are no square": ({"x_train": IMAGES[..., 0].reshape(40, 30)}, "x_train.reshape(-1, H, W, C)"),
    "one image": ({"x_train": IMAGES[0]}, "x_train"),
    "a number": ({"x_train": np.array(3)}, "x_train has the shape ()"),
    "no images": ({"x_train": IMAGES[:0], "y_train": np.zeros(0, int)}, "there are no images in it"),
    "three pixels high": ({"x_train": IMAGES[:, :3]}, "at least 4x4 are needed"),
    "splits of two sizes": ({"x_test": np.zeros((10, 7, 5, 3), np.uint8) + IMAGES[:10, :1]}, "must be of one size"),
    "splits of two colours": ({"x_test": IMAGES[:10, ..., 0]}, "must be of one size"),
    "fewer labels": ({"y_train": np.arange(39) % 2}, "x_train has 40 images and y_train 39 labels"),
    "labels of two columns": ({"y_train": np.full((40, 2), 3)}, "expected a whole number for each image"),
    "a column a class": ({"y_train": np.eye(2)[np.arange(40) % 2]}, "y_train.argmax(1)"),
    "one label": ({"y_train": np.array(3)}, "y_train has the shape ()"),
    "labels that are fractions": ({"y_train": np.full(40, 0.5)}, "y_train is float64: expected whole numbers"),
    "whole labels as floats": ({"y_train": (np.arange(40) % 2).astype(np.float32)}, "y_train.astype(np.int64)"),
    "labels as text": ({"y_train": np.array(["cat", "dog"] * 20)}, "np.unique(y_train, return_inverse=True)[1]"),
    "labels as truth values": ({"y_train": np.arange(40) % 2 == 0}, "y_train is bool: expected whole numbers"),
    "a negative label": ({"y_train": np.arange(40) % 2 - 1}, "A label in y_train is -1: classes are counted from 0"),
    "labels of two types": (
        {"y_train": BOTH.astype(np.uint64), "y_test": np.arange(10) % 3, "class_names": np.array(["a", "b", "c"])},
        "No training image of: c.",
    ),
    "a label beyond all numbers": ({"y_train": BOTH.astype(np.uint64) + 2**63}, "at most 10,000 classes"),
    "labels from 1": ({"y_train": BOTH + 1, "y_test": BOTH[:10] + 1}, "they are counted from 1: write y_train - 1"),
    "labels from 7": ({"y_train": BOTH + 7, "y_test": BOTH[:10] + 7}, "they are shifted by 7: write y_train - 7"),
    "sparse labels": ({"y_train": np.arange(40) % 2 * 9, "y_test": np.arange(10) % 2 * 9}, "--classes 10"),
    "a label of a million": ({"y_train": BOTH * 10**6, "y_test": BOTH[:10] * 0}, "at most 10,000 classes"),
    "one class": ({"y_train": np.zeros(40, int), "y_test": np.zeros(10, int)}, "at least two are needed"),
    "a class that only the test has": ({"y_test": np.arange(10) % 3}, "No training image of: class 2"),
    "groups of another length": ({"group_train": np.arange(39)}, "The groups of y_train"),
    "groups as text": ({"group_train": np.array(["a"] * 40)}, "The groups of y_train"),
    "fewer names than classes": ({"class_names": np.array(["cat"])}, "1 classes are named"),
    "names that are numbers": ({"class_names": np.arange(2)}, "expected a text for each class"),
    "a name that would deceive": ({"class_names": np.array(["cat", "\x1b[2J"])}, "could deceive"),
    "two classes of one name": ({"class_names": np.array(["cat", "cat"])}, "several classes are named 'cat'"),
    "a name in two spellings": (
        {"class_names": np.array(["Cat", "dog", "cat"]), "y_test": np.arange(10) % 3},
        "looks like another class",
    ),
    "a name that is empty": ({"class_names": np.array(["cat", " "])}, "class 1 has no name"),
}  # fmt: skip
"""Kinds of arrays that people have, each with the words that tell them what to do."""


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED)
def test_an_array_that_cannot_be_used_is_refused_with_the_conversion_to_use(changes, said, tmp_path):
    """Catches a kind that is converted or clipped in silence, and an error from deep inside NumPy."""
    message = refused(saved(tmp_path, **changes))
    assert said in message
    assert "\x1b" not in message


def test_all_problems_are_named_at_once(tmp_path):
    """Catches one error a run."""
    message = refused(saved(tmp_path, x_train=IMAGES > 9, y_test=np.zeros(9, int)))
    assert "2 problems" in message


TAKEN = {
    "grey images": ({"x_train": IMAGES[..., 0], "x_test": IMAGES[:10, ..., 0]}, {}, (6, 5, 1), 2),
    "labels in a column": ({"y_train": (np.arange(40) % 2)[:, None]}, {}, (6, 5, 3), 2),
    "short labels": ({"y_train": (np.arange(40) % 2).astype(np.uint8)}, {}, (6, 5, 3), 2),
    "floats in [0, 1]": ({"x_train": IMAGES / np.float32(255)}, {}, (6, 5, 3), 2),
    "gaps that are said": ({"y_train": np.arange(40) % 2 * 3}, {"classes": 5}, (6, 5, 3), 5),
    "labels from 1 that are said": ({"y_train": BOTH + 1, "y_test": np.ones(10, int)}, {"classes": 3}, (6, 5, 3), 3),
    "columns first": ({"x_train": np.asfortranarray(IMAGES)}, {}, (6, 5, 3), 2),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "request_", "shape", "classes"), TAKEN.values(), ids=TAKEN)
def test_what_means_one_thing_only_is_taken(changes, request_, shape, classes, tmp_path):
    """Catches a check that refuses too much."""
    data = load(saved(tmp_path, **({"y_test": np.zeros(10, int)} | changes)), **request_)
    assert data.train.pixels.shape[1:] == shape
    assert len(data.classes) == classes


def test_floats_become_the_bytes_that_they_were_or_it_is_said(tmp_path):
    """Catches a float image cut off instead of rounded, and a loss that nobody hears of."""
    data = load(saved(tmp_path, x_train=IMAGES / np.float64(255)))
    assert_array_equal(np.sort(np.concatenate([data.train.images, data.val.images]).ravel()), np.sort(IMAGES.ravel()))
    assert not any("rounded" in note for note in data.notes)
    data = load(saved(tmp_path, x_train=np.clip(IMAGES / 255 + 0.001, 0, 1)))
    assert any("rounded to 8 bits, by up to 0.001" in note for note in data.notes)


def test_an_npz_file_keeps_its_images_labels_names_and_splits(tmp_path):
    """Catches height and channels mixed up, labels beside other images, and a validation split that is cut off."""
    given = arrays(class_names=np.array(["cat", "dog"]), x_val=IMAGES[:6], y_val=np.arange(6) % 2, more=np.ones(2))
    np.savez(tmp_path / "mine.npz", **given)
    data = load(tmp_path / "mine.npz")
    assert (data.name, data.classes) == ("mine", ("cat", "dog"))
    for split, name in ((data.train, "train"), (data.val, "val"), (data.test, "test")):
        assert_array_equal(split.images, given[f"x_{name}"])
        assert_array_equal(split.labels, given[f"y_{name}"])
    assert "Arrays not read: more." in data.notes
    assert any("6 images stand in the train and in the val split" in note for note in data.notes)


def test_a_large_npz_is_mapped_and_not_loaded(tmp_path, monkeypatch):
    """Catches 15 GB of images in memory, and a cache that another file of that name is read from."""
    monkeypatch.setenv("EDGERKD_CACHE", str(tmp_path / "cache"))
    plain = load(saved(tmp_path))
    monkeypatch.setattr(npz, "IN_MEMORY", 100)
    mapped = load(saved(tmp_path))
    assert isinstance(mapped.train.pixels.base, np.memmap) or isinstance(mapped.train.pixels, np.memmap)
    assert_array_equal(mapped.train.images, plain.train.images)
    assert_array_equal(mapped.train.digests, plain.train.digests)
    other = load(saved(tmp_path, x_train=IMAGES[::-1]))
    assert_array_equal(other.train.pixels, IMAGES[::-1])
    assert len(list((tmp_path / "cache" / "data").glob("[!.]*"))) == 4


# Splits and samples


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 3000), st.integers(0, 9))
def test_shares_add_up_follow_the_counts_and_leave_no_class_out(counts, n, seed):
    """Catches a sample of another size, a class left out where there is room, and more than a class has."""
    counts, n = np.array(counts), min(n, sum(counts))
    found = shares(counts, n, np.random.default_rng(seed))
    assert found.sum() == n
    assert (found <= counts).all()
    if n >= len(counts):
        assert found.min() >= 1
        assert (np.abs(found - counts * n / counts.sum()) <= max(1, len(counts))).all()


def test_a_sample_of_a_split_sorted_by_class_is_of_every_class_and_in_no_order():
    """Catches the PASS that judged five hundred zeros: a head of a sorted split."""
    labels = np.repeat(np.arange(10), 100)
    rows = draw(labels, 50, seed=0)
    assert Counter(labels[rows].tolist()) == dict.fromkeys(range(10), 5)
    assert len(set(labels[rows[:10]])) > 3
    assert len(set(rows.tolist())) == 50
    assert_array_equal(rows, draw(labels, 50, seed=0))
    assert set(draw(labels, 50, seed=1).tolist()) != set(rows.tolist())
    assert sorted(draw(labels, 2000, seed=0).tolist()) == list(range(1000))
    assert len(set(labels[draw(labels, 7, seed=0)])) == 7


def test_validation_images_are_of_every_class_whatever_the_order(tmp_path):
    """Catches a validation split of the last class alone, and one that changes from one command to the next."""
    data = load(saved(tmp_path, n=400, classes=4, y_train=np.sort(np.arange(400) % 4)))
    assert Counter(data.val.labels.tolist()) == dict.fromkeys(range(4), 10)
    assert len(data.train) + len(data.val) == 400
    again = load(tmp_path / "mine.npz")
    assert_array_equal(again.val.digests, data.val.digests)


def grouped(n: int = 300, per: int = 10):
    labels = np.arange(n) // per % 5
    return {"y_train": labels, "group_train": np.arange(n) // per, "y_test": np.arange(10) % 5}


def test_frames_of_one_object_are_never_on_both_sides(tmp_path):
    """Catches a validation accuracy that is about objects seen in training."""
    given = grouped()
    data = load(saved(tmp_path, n=300, **given))
    assert set(data.train.groups) & set(data.val.groups) == set()
    assert set(data.val.labels) == set(data.train.labels) == set(range(5))
    assert 25 <= len(data.val) <= 60


def test_an_image_that_stands_twice_is_on_one_side(tmp_path):
    """Catches a copy of a training image that validates it, in a group of its own."""
    images = np.random.default_rng(1).integers(0, 256, (100, 6, 5, 3), dtype=np.uint8)
    twice = np.concatenate([images, images])
    data = load(saved(tmp_path, x_train=twice, y_train=np.tile(np.arange(100) % 2, 2), group_train=np.arange(200)))
    train, val = ({row.tobytes() for row in split.digests} for split in (data.train, data.val))
    assert train & val == set()
    assert len(data.val) == 2 * len(val)


def test_a_class_of_one_object_is_learned_from(tmp_path):
    """Catches a class that is in the validation split alone."""
    labels = np.arange(40) % 2
    data = load(saved(tmp_path, y_train=labels, group_train=np.where(labels == 1, 100, np.arange(40))))
    assert set(data.train.labels) == {0, 1}
    assert set(data.val.labels) == {0}


@pytest.mark.parametrize(
    "changes",
    [
        {"group_train": np.zeros(40, int)},
        {"group_train": BOTH},
        {"x_train": IMAGES[:3], "y_train": np.arange(3), "y_test": np.arange(10) % 3},
    ],
)
def test_where_nothing_can_be_held_out_that_is_said(changes, tmp_path):
    """Catches objects that are torn apart where none can be spared, and a class that loses its only image."""
    assert "can be held out" in refused(saved(tmp_path, **changes))


@given(st.integers(0, 10**6))
def test_no_class_loses_its_last_image_to_another_split(seed):
    """Catches an object of several classes whose other classes are left with nothing to learn from."""
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, 6, 60), rng.integers(0, 8, 60)
    pixels = rng.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
    samples = Samples(pixels=pixels, rows=np.arange(60), labels=labels, digests=image_digests(pixels), groups=groups)
    kept, held = hold_out(samples, 0.3, most=None, seed=0)
    assert set(labels[kept]) == set(labels)
    assert set(groups[kept]) & set(groups[held]) == set()
    assert sorted([*kept, *held]) == list(range(60))


# Folders of pictures


def picture(path: Path, *, size=(8, 8), mode="RGB", seed=0, **options) -> None:
    rng = np.random.default_rng((seed, zlib.crc32(f"{path.parent.name}/{path.name}".encode(errors="replace"))))
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,), "I;16": ()}[mode]
    high = 2**16 if mode == "I;16" else 256
    kind = np.uint16 if mode == "I;16" else np.uint8
    image = Image.fromarray(rng.integers(0, high, (size[1], size[0], *channels)).astype(kind))
    image.save(path, **options)


def folder(root: Path, *, splits=("",), classes=("cat", "dog"), n: int = 10, suffix=".png", **options) -> Path:
    for split in splits:
        for name in classes:
            for index in range(n):
                picture(root / split / name / f"{index}{suffix}", seed=zlib.crc32(split.encode()), **options)
    return root


def test_a_folder_of_classes_is_split_by_class(tmp_path):
    """Catches classes that meet in one split only, images that are counted twice, and names that are lost."""
    data = load(folder(tmp_path / "pets"))
    assert data.classes == ("cat", "dog")
    assert [len(split) for split in (data.train, data.val, data.test)] == [14, 2, 4]
    assert Counter(data.test.labels.tolist()) == {0: 2, 1: 2}
    assert any("There is no test split" in note for note in data.notes)
    image = np.asarray(Image.open(tmp_path / "pets" / data.train.files[3]))
    assert_array_equal(data.train.images[3], image)


@pytest.mark.parametrize(
    "names", [("train", "test"), ("Training", "TEST"), ("train_set", "testing"), ("Train-Set", "Test")]
)
def test_splits_are_known_by_their_names_in_any_letter_case(names, tmp_path):
    """Catches the student that was verified to tell `train/` from `test/`."""
    data = load(folder(tmp_path / "pets", splits=names, n=6))
    assert data.classes == ("cat", "dog")
    assert len(data.test) == 12
    assert len(data.train) + len(data.val) == 12


def test_names_of_splits_are_no_classes():
    """Catches a name that is left out, and a class that is taken for a split."""
    for split, names in {
        "train": ["train", "training", "train_set", "training_set", "TRAIN", "Train"],
        "val": ["val", "valid", "validation", "Val"],
        "test": ["test", "testing", "TEST"],
    }.items():
        assert {split_of(name) for name in names} == {split}
    assert [split_of(name) for name in ("trains", "cat", "tests", "0", "train 2")] == [None] * 5


def test_a_val_folder_chooses_and_without_a_test_folder_it_reports(tmp_path):
    """Catches a split that is thrown away, and one that is used twice."""
    data = load(folder(tmp_path / "three", splits=("train", "valid", "test"), n=5))
    assert [len(split) for split in (data.train, data.val, data.test)] == [10, 10, 10]
    data = load(folder(tmp_path / "two", splits=("train", "validation"), n=20))
    assert len(data.test) == 40
    assert len(data.train) + len(data.val) == 40
    assert any("the val split is used as one" in note for note in data.notes)
    data = load(folder(tmp_path / "one", splits=("train",), n=20))
    assert len(data.train) + len(data.val) + len(data.test) == 40


FOLDERS = {
    "nothing": (lambda root: root.mkdir(), "it has no folders"),
    "pictures without classes": (lambda root: picture(root / "0.png"), "it has no folders"),
    "one class": (lambda root: folder(root, classes=("cat",)), "at least two are needed"),
    "empty classes": (lambda root: [(root / c).mkdir(parents=True) for c in "ab"], "its folders (a, b) hold none"),
    "no training split": (lambda root: folder(root, splits=("test",)), "there is test and no training split"),
    "a split twice": (lambda root: folder(root, splits=("train", "Training")), "two folders are the same split"),
    "a class that only the test has": (
        lambda root: (folder(root, splits=("train", "test")), picture(root / "test" / "eel" / "0.png")),
        "No training image of: eel",
    ),
    "a training split of pictures alone": (
        lambda root: (picture(root / "train" / "0.png"), folder(root, splits=("test",))),
        "train: not a folder of pictures",
    ),
    "a class whose name would deceive": (
        lambda root: (folder(root), picture(root / "c\x1b[2Jat" / "0.png")),
        "the name of a class's folder",
    ),
    "a class whose name is no text": (
        lambda root: (folder(root), picture(root / os.fsdecode(b"c\xffat") / "0.png")),
        "the name of a class's folder",
    ),
    "a folder too far up": (lambda root: folder(root / "animals"), "Name the folder that contains the classes"),
    "a class of what are no pictures": (
        lambda root: ((root / "cat").mkdir(parents=True), (root / "cat" / "0.heic").touch()),
        "Files that are not pictures skipped: 1 .heic.",
    ),
    "too small": (lambda root: folder(root, size=(3, 8)), "at least 4x4 are needed"),
}


@pytest.mark.parametrize(("make", "said"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_is_no_data_set_is_refused(make, said, tmp_path):
    """Catches torchvision's own error, and a folder that is read as another kind of data than it is."""
    make(tmp_path / "pets")
    message = refused(tmp_path / "pets")
    assert said in message
    assert "\x1b" not in message


def deep_png(path: Path) -> None:
    """Red, green and blue of 16 bits, which Pillow reads and does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    rows = zlib.compress((b"\0" + b"\x0f\xff" * 24) * 8)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def deep_ppm(path: Path) -> None:
    path.write_bytes(b"P6 8 8 65535\n" + b"\x00\x07" * 192)


def cut(path: Path) -> None:
    picture(path, size=(64, 64))
    path.write_bytes(path.read_bytes()[:200])


BAD = {
    "no picture": (lambda path: path.write_bytes(b"no picture"), "is not a picture, or is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is not a picture, or is damaged"),
    "16 bits": (lambda path: picture(path, mode="I;16"), "more than 8 bits a value"),
    "16 bits and colour": (lambda path: deep_png(path), "more than 8 bits a value"),
    "16 bits and colour, as PPM": (lambda path: deep_ppm(path), "more than 8 bits a value"),
    "transparent": (lambda path: picture(path, mode="RGBA"), "--alpha white or --alpha black"),
    "grey and transparent": (lambda path: picture(path, mode="LA"), "--alpha white or --alpha black"),
    "cut short": (lambda path: cut(path), "cannot be read"),
    "a named pipe": (os.mkfifo, "this is a named pipe"),
    "a folder of pixels": (lambda path: path.symlink_to("gone"), None),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD)
def test_a_picture_that_cannot_be_used_is_named_or_left_out_by_a_flag(make, said, tmp_path):
    """Catches Pillow's own error, a clipped picture, and a bad file that is left out unasked."""
    root = folder(tmp_path / "pets", size=(64, 64))
    make(root / "cat" / "bad.png")
    if said is None:  # a link that leads nowhere is passed over, and counted
        assert any("Links that lead out of the folder" in note for note in load(root).notes)
        return
    message = refused(root)
    assert "bad.png" in message
    assert said in message
    assert "--skip-bad" in message
    data = load(root, skip_bad=True)
    assert "bad.png" in refused(root), "what was said once is not said for ever"
    assert len(data.train) + len(data.val) + len(data.test) == 20
    assert any("left out by --skip-bad: 1" in note for note in data.notes)


def test_bad_pictures_are_counted_beyond_those_that_are_named(tmp_path):
    """Catches the line that says how many more there are counted as one of them."""
    root = folder(tmp_path / "pets")
    for index in range(13):
        (root / "cat" / f"bad{index}.png").write_bytes(b"no picture")
    message = refused(root)
    assert "13 problems" in message
    assert "and 3 more" in message


def test_a_part_of_the_pattern_that_is_optional_does_not_join_what_lacks_it(tmp_path):
    """Catches all files without the group taken for one object."""
    root = folder(tmp_path / "pets", n=30)
    for index in range(10):
        picture(root / "cat" / f"{index // 2 + 100}_{index % 2}.png")
    data = load(root, group_by=r"^(\d+)_|^\d+")
    groups = Counter(data.train.groups.tolist())
    assert max(groups.values()) == 2
    assert len(data.test) < 0.3 * (len(data.train) + len(data.val) + len(data.test))


def test_a_class_that_a_drawn_split_lacks_is_named(tmp_path):
    """Catches a class that nothing is measured of, and no word of it."""
    root = folder(tmp_path / "pets", n=20)
    picture(root / "eel" / "0.png")
    assert "The test split has no image of eel." in load(root).notes


def test_narrow_images_are_shifted_by_a_share_of_their_width(tmp_path):
    """Catches a shift that pushes a narrow image out of itself."""
    dataset, _, _ = opened(folder(tmp_path / "tall", size=(16, 64)))
    assert dataset.facts.augmentation.crop == 2


def test_transparent_pictures_are_composed_over_the_colour_that_is_named(tmp_path):
    """Catches opacity that is dropped, so that what nobody sees is learned from."""
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(5):
            pixels = np.full((8, 8, 4), 40 * index, np.uint8)
            pixels[:4, :, 3] = 0
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{index}.png")
    for alpha, colour in (("white", 255), ("black", 0)):
        images = load(tmp_path / "pets", alpha=alpha).train.images
        assert (images[:, :4] == colour).all()


def test_grey_folders_stay_grey_and_mixed_ones_become_colour(tmp_path):
    """Catches grey pictures made three times as large, and a mixture that is refused or cut to one channel."""
    grey = load(folder(tmp_path / "grey", mode="L", suffix=".jpg"))
    assert grey.train.pixels.shape[3] == 1
    root = folder(tmp_path / "mixed")
    picture(root / "cat" / "grey.png", mode="L")
    mixed = load(root)
    assert mixed.train.pixels.shape[3] == 3
    assert any("Grey pictures next to colour ones, converted to colour: 1" in note for note in mixed.notes)


def test_pictures_of_differing_sizes_need_a_size_and_the_sizes_are_named(tmp_path):
    """Catches a silent resize, which changes what the radius means."""
    root = folder(tmp_path / "pets")
    picture(root / "cat" / "wide.png", size=(20, 9))
    assert "from 8x8 to 20x9, most often 8x8 (width x height): choose one size" in refused(root)
    assert load(root, size=(6, 7)).train.pixels.shape[1:] == (6, 7, 3)


def test_crop_keeps_the_middle_and_stretch_the_borders(tmp_path):
    """Catches the two exchanged, and a crop of a corner."""
    image = np.zeros((8, 24, 3), np.uint8)
    image[:, 8:16] = 200
    for name in ("cat", "dog"):
        for index in range(5):
            path = tmp_path / "bands" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image + np.uint8(index)).save(path)
    crop, stretch = (load(tmp_path / "bands", size=(8, 8), fit=fit).train.images[0] for fit in ("crop", "stretch"))
    assert crop.min() >= 200
    assert stretch[:, 0].max() < 50 < 190 < stretch[:, 4].min()


def test_pictures_are_turned_as_their_camera_says(tmp_path):
    """Catches a phone's pictures that lie on their side."""
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, :8] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    for name in ("cat", "dog"):
        for index in range(5):
            path = tmp_path / "phone" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image + np.uint8(index)).save(path, exif=exif)
    found = load(tmp_path / "phone").train.images[0]
    assert found.shape == (16, 8, 3)
    assert found[:8].min() > 200 > 50 > found[8:].max()


def test_hidden_and_foreign_files_are_passed_over_and_counted(tmp_path):
    """Catches a `.git` taken for a class, a `Thumbs.db` that ends the run, and silence about either."""
    root = folder(tmp_path / "pets")
    (root / ".git").mkdir()
    picture(root / ".git" / "0.png")
    (root / "cat" / ".DS_Store").touch()
    (root / "cat" / "Thumbs.db").touch()
    (root / "README.md").touch()
    picture(root / "loose.png")
    data = load(root)
    assert data.classes == ("cat", "dog")
    notes = " ".join(data.notes)
    assert "Hidden files and folders skipped: 2." in notes
    assert "1 .db" in notes
    assert "1 .md" in notes
    assert "Pictures outside the folders of the classes skipped: 1." in notes


def test_links_are_not_followed_out_of_the_folder_and_loops_end(tmp_path):
    """Catches pictures from elsewhere, and a walk that never ends."""
    folder(tmp_path / "elsewhere", classes=("fox",))
    root = folder(tmp_path / "pets")
    (root / "fox").symlink_to(tmp_path / "elsewhere" / "fox")
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat")
    (root / "dog" / "more").symlink_to(root / "cat")
    picture(tmp_path / "secret.png")
    (root / "dog" / "secret.png").symlink_to(tmp_path / "secret.png")
    (root / "dog" / "again.png").symlink_to(root / "dog" / "0.png")
    data = load(root)
    assert data.classes == ("cat", "dog")
    notes = " ".join(data.notes)
    assert "not followed: " in notes
    files = [*data.train.files, *data.val.files, *data.test.files]
    assert "dog/again.png" in files
    assert not any("secret" in file or "up" in file for file in files)


def test_folders_are_decoded_once_into_a_cache_that_is_checked(tmp_path, monkeypatch):
    """Catches decoding at every command, a damaged cache that is believed, and one that outlives its pictures."""
    monkeypatch.setenv("EDGERKD_CACHE", str(tmp_path / "cache"))
    root = folder(tmp_path / "pets")
    heard = Listening()
    first = load_data(DataRequest(source=str(root)), progress=heard)
    assert any("Decoded images are kept in" in line and "3.75 KiB" in line for line in heard.lines)
    opened: list[Path] = []
    real = cache.image_digests
    monkeypatch.setattr("edgerkd.data.load.decode", lambda *given, **more: opened.append(root))
    again = load(root)
    assert opened == []
    assert_array_equal(again.train.images, first.train.images)
    monkeypatch.undo()
    monkeypatch.setenv("EDGERKD_CACHE", str(tmp_path / "cache"))
    (pixels,) = (tmp_path / "cache" / "data").glob("*/pixels.bin")
    pixels.write_bytes(pixels.read_bytes()[:-1] + b"\x07")
    heard = Listening()
    third = load_data(DataRequest(source=str(root)), progress=heard)
    assert any("is damaged: its images are decoded again" in line for line in heard.lines)
    assert_array_equal(third.train.digests, first.train.digests)
    picture(root / "cat" / "0.png", seed=77)
    os.utime(root / "cat" / "0.png", (1, 1))
    changed = load(root)
    both = [{row.tobytes() for s in (d.train, d.val, d.test) for row in s.digests} for d in (first, changed)]
    assert len(both[0] - both[1]) == 1
    assert cache.image_digests is real


def test_no_room_for_the_cache_is_said_before_it_is_filled(tmp_path, monkeypatch):
    """Catches a disk that is full after an hour of decoding."""
    monkeypatch.setenv("EDGERKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(StorageError, match=r"need 3\.75 KiB and 100 B are free"):
        load(folder(tmp_path / "pets"))


def test_objects_are_told_apart_by_a_part_of_the_file_name(tmp_path):
    """Catches thirty frames of one road sign on both sides of a split, and a pattern that matches nothing."""
    root = tmp_path / "signs"
    for name in ("stop", "go"):
        for sign in range(6):
            for frame in range(5):
                picture(root / name / f"{sign:05d}_{frame:05d}.png", seed=frame)
    data = load(root, group_by=r"^(\d+)_")
    of = [{(f.split("/")[0], f.split("/")[1][:5]) for f in s.files} for s in (data.train, data.val, data.test)]
    assert of[0] & of[1] == of[0] & of[2] == of[1] & of[2] == set()
    assert "matches nothing in the name of" in refused(root, group_by="x+")


def test_a_pattern_that_is_none_is_refused(tmp_path):
    """Catches re's own error."""
    folder(tmp_path / "pets")
    with pytest.raises(ConfigError, match="is not a regular expression"):
        load(tmp_path / "pets", group_by="(")


# Known names, torchvision's layouts


def test_the_digits_are_real_whole_and_split_without_overlap():
    """Catches images lost or shared between splits, and grey levels cut off."""
    data = load("digits")
    splits = (data.train, data.val, data.test)
    assert [len(split) for split in splits] == [1200, 200, 397]
    assert data.train.pixels.max() == 255
    assert len({row.tobytes() for split in splits for row in split.digests}) == 1797
    assert data.classes == tuple("0123456789")
    assert data.notes == ()


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("cifar1", UnknownNameError, "'cifar1': did you mean 'cifar10'"),
        ("nowhere/", UnknownNameError, "known: cifar10, digits"),
        ("", ConfigError, "is empty"),
        ("a\x1b[2Jb", ConfigError, "not text"),
    ],
)
def test_a_source_that_is_none_is_refused(source, error, said, workdir):
    """Catches a bare KeyError."""
    with pytest.raises(error, match=said.replace("[", r"\[")):
        load(source)


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    """Catches np.load's fallback to pickle, and a text file read as a folder."""
    for name, said in (("x.npz", "not a readable .npz file"), ("x.csv", "takes an .npz file or a folder of pictures")):
        (tmp_path / name).write_bytes(b"not a zip")
        assert said in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["cifar10", "mnist", "fashion-mnist", "gtsrb"])
def test_a_known_name_is_found_as_npz_in_the_data_folder(name, tmp_path, monkeypatch):
    """Catches a download where the file is there."""
    np.savez(tmp_path / f"{name}.npz", **arrays())
    monkeypatch.setenv("EDGERKD_DATA", str(tmp_path))
    assert load(name).name == name


def test_gtsrb_is_found_as_a_folder_with_its_size_and_its_objects(tmp_path, monkeypatch):
    """Catches road signs of differing sizes refused, and frames of one sign on both sides."""
    for split in ("train", "test"):
        for name in ("00000", "00001"):
            for index in range(6):
                file = f"0000{index // 2}_0000{index % 2}.ppm" if split == "train" else f"0000{index}.ppm"
                picture(tmp_path / "gtsrb" / split / name / file, size=(20 + index, 25))
    monkeypatch.setenv("EDGERKD_DATA", str(tmp_path))
    data = load("gtsrb")
    assert data.train.pixels.shape[1:] == (32, 32, 3)
    assert data.size == (32, 32)
    assert len(set(data.train.groups)) == 4, "one of three objects is held out in each class"
    assert not set(data.train.groups) & set(data.val.groups)
    monkeypatch.setenv("EDGERKD_DATA", str(tmp_path / "none"))
    with pytest.raises(MissingDependencyError, match=r"gtsrb is not in .*put gtsrb\.npz there"):
        load("gtsrb")


HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


def torchvisions_gtsrb(root: Path) -> Path:
    """Two classes of two objects with two frames each, four test pictures; the table of these."""
    for name in ("00000", "00001"):
        (root / "gtsrb/GTSRB/Training" / name).mkdir(parents=True)
        (root / "gtsrb/GTSRB/Training" / name / f"GT-{name}.csv").write_text(HEADER)
        for index in range(4):
            picture(
                root / "gtsrb/GTSRB/Training" / name / f"0000{index // 2}_{index % 2:05}.ppm", size=(20 + index, 25)
            )
    table = [HEADER]
    for index in range(4):
        picture(root / "gtsrb/GTSRB/Final_Test/Images" / f"{index:05}.ppm", size=(30, 28))
        table.append(f"{index:05}.ppm;30;28;5;5;20;20;{(index + 1) % 2}")
    (root / "gtsrb/GT-final_test.csv").write_text("\n".join(table))
    return root / "gtsrb/GT-final_test.csv"


def test_gtsrb_in_torchvisions_layout_has_its_test_labels_from_the_table(tmp_path, monkeypatch):
    """Catches test signs without a class, or with that of the folder before, and the whole taken for two classes."""
    torchvisions_gtsrb(tmp_path)
    monkeypatch.setenv("EDGERKD_DATA", str(tmp_path))
    for data in (load("gtsrb"), load(tmp_path)):
        assert (data.name, data.classes) == ("gtsrb", ("00000", "00001"))
        assert data.test.pixels.shape[1:] == (32, 32, 3)
        assert {Path(file).stem: int(label) for file, label in zip(data.test.files, data.test.labels, strict=True)} == {
            "00000": 1,
            "00001": 0,
            "00002": 1,
            "00003": 0,
        }
        assert len(set(data.train.groups)) in (2, 3), "one or two of four objects are held out for validation"
        assert not set(data.train.groups) & set(data.val.groups)


def test_gtsrb_unpacked_a_folder_too_deep_is_refused(tmp_path):
    """Catches a KeyError."""
    torchvisions_gtsrb(tmp_path)
    training = tmp_path / "gtsrb/GTSRB/Training"
    training.rename(tmp_path / "aside")
    training.mkdir()
    (tmp_path / "aside").rename(training / "Training")
    assert "expected folders 00000 to 00042 there, not splits (train)" in refused(training.parents[2])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("00001.ppm", "00009.ppm", "line 3: .*00009.ppm is not there"),
        ("00001.ppm", "../../../../etc/passwd", "line 3: .*passwd is not there"),
        (";0\n", ";7\n", "line 3: class 7 has no training pictures"),
        (";1\n", ";one\n", "damaged, or not the table of GTSRB"),
        ("Filename", "Path", "damaged, or not the table of GTSRB"),
        (";", ",", "damaged, or not the table of GTSRB"),
        ("00000.ppm", "\0", "damaged, or not the table of GTSRB|is not there"),
        ("00000.ppm", '"', "damaged, or not the table of GTSRB"),
    ],
)
def test_a_damaged_table_of_gtsrb_is_named_with_its_line(old, new, said, tmp_path):
    """Catches a KeyError, and a picture read from anywhere on the disk."""
    table = torchvisions_gtsrb(tmp_path)
    table.write_text(table.read_text().replace(old, new, 1 if old.endswith(("ppm", "\n")) else -1))
    message = refused(tmp_path)
    assert re.search(said, message), message
    assert "GT-final_test.csv" in message


def idx(path: Path, array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}i", *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("name", "raw"), [("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")])
def test_torchvisions_layout_of_idx_files_is_read(name, raw, suffix, tmp_path, monkeypatch):
    """Catches rows and columns exchanged, labels that are images, and a folder of idx files taken for pictures."""
    rng = np.random.default_rng(0)
    given = {}
    for stem, n in (("train", 30), ("t10k", 10)):
        given[stem] = rng.integers(0, 256, (n, 7, 5), np.uint8), (np.arange(n) % 3).astype(np.uint8)
        idx(tmp_path / raw / f"{stem}-images-idx3-ubyte{suffix}", given[stem][0])
        idx(tmp_path / raw / f"{stem}-labels-idx1-ubyte{suffix}", given[stem][1])
    monkeypatch.setenv("EDGERKD_DATA", str(tmp_path))
    for data in (load(name), load(tmp_path)):
        assert data.name == name
        assert_array_equal(data.test.images[..., 0], given["t10k"][0])
        assert_array_equal(data.test.labels, given["t10k"][1])
    (tmp_path / raw / f"t10k-images-idx3-ubyte{suffix}").write_bytes(b"\x00\x00\x08\x03damaged")
    with pytest.raises(ConfigError, match="damaged or not an idx file"):
        load(name)


def test_cifar10_in_torchvisions_layout_is_read_with_its_checksums(tmp_path, monkeypatch):
    """Catches a folder of somebody's pickles taken for CIFAR-10: torchvision's MD5 check must be what refuses it."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not the real one")

    def closed(*args, **kwargs):
        raise OSError("network closed")

    monkeypatch.setattr(utils, "_urlretrieve", closed)
    with pytest.raises(MissingDependencyError, match=r"cifar10\.npz"):
        load(tmp_path)


# Radius, augmentation, and what is said before anything is trained


def opened(source, *, eps=None, **request):
    heard = Listening()
    asked = DataRequest(source=str(source), **request)
    dataset, threat_model = open_data(asked, eps=None if eps is None else Radius(eps), progress=heard)
    return dataset, threat_model, heard.lines


def test_known_data_have_their_customary_radius_and_its_source(tmp_path, monkeypatch):
    """Catches MNIST judged at 8/255, at which it is no task."""
    monkeypatch.setenv("EDGERKD_DATA", str(tmp_path))
    grey = {"x_train": IMAGES[..., 0], "x_test": IMAGES[:10, ..., 0]}
    for name, eps, changes in (
        ("mnist", "0.3", grey),
        ("fashion-mnist", "0.1", grey),
        ("cifar10", "8/255", {}),
        ("gtsrb", "8/255", {}),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays(**changes))
        dataset, threat_model, lines = opened(name)
        assert str(threat_model.eps) == eps
        assert f"radius {eps} (" in lines[0]
        assert f"({CUSTOMARY[name].source})" in lines[0]
        assert dataset.facts.augmentation.flip is (name in ("fashion-mnist", "cifar10"))
    assert str(opened("mnist", eps="0.25")[1].eps) == "0.25"


def test_a_users_own_grey_images_need_a_radius_and_colour_ones_have_one(tmp_path):
    """Catches a radius that is guessed where none is customary."""
    _, threat_model, lines = opened(saved(tmp_path))
    assert str(threat_model.eps) == "8/255"
    assert "customary for small colour images; --eps sets another" in lines[0]
    grey = saved(tmp_path, x_train=IMAGES[..., 0], x_test=IMAGES[:10, ..., 0])
    with pytest.raises(ConfigError, match=r"--eps: mine is grey.*0\.3 \(MNIST\).*X-rays"):
        opened(grey)
    assert str(opened(grey, eps="0.1")[1].eps) == "0.1"
    with pytest.raises(ConfigError, match="nothing is attacked within a radius of 0"):
        opened(grey, eps="0")


def test_the_data_are_described_in_one_line_before_anything_is_trained(tmp_path):
    """Catches hours spent on data that were read as something else."""
    _, _, lines = opened(saved(tmp_path))
    assert lines[0] == (
        "mine: 36 training, 4 validation and 10 test images, 2 classes, 5x6 colour; radius 8/255 (customary for small "
        "colour images; --eps sets another); training images are not shifted, not mirrored"
    )
    root = folder(tmp_path / "pets", n=40, size=(17, 33))
    _, _, lines = opened(root, size=(16, 32), flip=True)
    assert "32x16 colour, resized and cropped; " in next(line for line in lines if line.startswith("pets: "))
    assert lines[-1].startswith("note: ") or "shifted by up to 2 pixels, mirrored" in " ".join(lines)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((300, 300), None),
        ((300, 9), "Classes of fewer than 10 training images are hardly learned: 1 (8)"),
        ((600, 14), "Classes are unbalanced: 0 has 5"),
    ],
)
def test_classes_that_are_small_or_uneven_are_named(counts, said, tmp_path):
    """Catches a class that nobody can learn, noticed hours later."""
    labels = np.repeat([0, 1], counts)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(labels), 5, 5, 3), dtype=np.uint8)
    path = saved(tmp_path, x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    notes = [line for line in opened(path)[2] if line.startswith("note: Classes")]
    assert (notes == []) if said is None else any(said in note for note in notes)


def test_the_data_of_a_run_are_known_again_whatever_the_seed_of_python(tmp_path):
    """Catches a digest that changes from one process to the next, and one that labels do not change."""
    asked = DataRequest(source=str(saved(tmp_path)))
    first, second = (dataset_from_checked(load_data(asked, progress=Silent()), asked).sha256 for _ in range(2))
    assert first == second
    saved(tmp_path, y_test=np.arange(10)[::-1] % 2)
    assert dataset_from_checked(load_data(asked, progress=Silent()), asked).sha256 != first


@pytest.mark.parametrize(("text", "size"), [("64", (64, 64)), ("64x48", (48, 64)), (" 7 ", (7, 7))])
def test_sizes_are_read_width_first(text, size):
    """Catches height and width exchanged."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["3", "64x3", "0", "-5", "64x", "64x64x3", "99999", "a", "", "1e3", "9" * 400])
def test_what_is_no_size_is_refused(text):
    """Catches an image of no pixels, and one of no memory."""
    with pytest.raises(ConfigError, match="is not a size: write 64"):
        parse_size(text)


# Tensors


def test_batches_are_the_images_in_channels_last_whatever_holds_them(tmp_path):
    """Catches rows of a split taken for rows of the file, and a copy of everything for one batch."""
    asked = DataRequest(source=str(saved(tmp_path)))
    dataset = dataset_from_checked(load_data(asked, progress=Silent()), asked)
    val = dataset.val
    assert val.image_shape == (3, 6, 5)
    batch = val.batch(torch.tensor([2, 0]))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert_close(batch[0], torch.from_numpy(load(saved(tmp_path)).val.images[2]).permute(2, 0, 1))
    assert_close(torch.cat(list(val.batches(3))), val.images)
    part = val.take(np.array([3, 1]))
    assert part.index.tolist() == [3, 1]
    assert_close(part.images[1], val.images[1])
    assert sorted(val.sample(None, seed=0).index.tolist()) == [0, 1, 2, 3]


def test_float_images_are_in_zero_to_one():
    """Catches a division by 256."""
    assert to_float(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item() == 1.0


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((3, 1), "c0 (3), c1 (1)"),
        ((1500, 0, 2), "c0 (1,500), c2 (2); none of c1"),
        ((5, *range(1, 10), 0), "10 classes, of each 1 to 9 images; none of c10"),
        ((0,) * 9 + (2,), "c9 (2); none of c0, c1, c2, c3, c4, c5, c6, c7, ..."),
    ],
)
def test_the_images_of_each_class_are_told(counts, said):
    """Catches a class without images passed over, and a line without end."""
    names = [f"c{number}" for number in range(len(counts))]
    assert class_counts(names, np.repeat(np.arange(len(counts)), counts)) == said
