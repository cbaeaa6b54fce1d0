"""The images on the page, and the file they come from."""

import base64
import struct
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edgerkd.bundle.kept import Kept, ids_of, kept_bytes, kept_path, read_kept
from edgerkd.core.errors import ArtefactError
from edgerkd.core.kept import curve_of, histogram_of
from edgerkd.core.run import RunFolder
from edgerkd.core.units import Radius
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import encode_json
from edgerkd.report.load import load_kept
from edgerkd.report.page import render_page
from edgerkd.report.png import data_url, png_bytes
from tests.report import samples


def decoded(png: bytes) -> np.ndarray:
    """The pixels (c, h, w) of a PNG file whose lines are not filtered; checks each chunk's CRC."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, size = 8, b"", (0, 0, 0)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + content)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", content[:10])
            assert depth == 8
            size = height, width, {0: 1, 2: 3}[colour]
        data += content if kind == b"IDAT" else b""
        at += 12 + length
    height, width, channels = size
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * channels)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, channels).transpose(2, 0, 1)


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_a_png_holds_the_pixels(channels, shown):
    """Catches swapped sides or channels, and a file that no browser opens."""
    pixels = np.random.default_rng(channels).integers(0, 256, (channels, 5, 7), np.uint8)
    assert_array_equal(decoded(png_bytes(pixels)), pixels[:shown])
    assert base64.b64decode(data_url(pixels).removeprefix("data:image/png;base64,")) == png_bytes(pixels)


def test_what_was_kept_is_read_back(tmp_path):
    """Catches an array lost or changed on the way."""
    path = tmp_path / "a.npz"
    path.write_bytes(kept_bytes(samples.kept()))
    found = read_kept(path)
    for field in fields(Kept):
        assert_array_equal(getattr(found, field.name), getattr(samples.kept(), field.name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", np.array([4.0, 7.0])),
        ("labels", np.array([4])),
        ("shares", np.array([np.nan, 1], np.float32)),
        ("shares_adv", np.array([1, 1.5], np.float32)),
        ("distances", np.full(503, -1, np.float32)),
        ("images_adv", np.full((2, 1, 8, 8), 2, np.float32)),
        ("images", np.zeros((2, 8, 8), np.uint8)),
        ("rows", np.array([3, 503])),
        ("rows", np.array([-1, 3])),
        ("answers", np.array([-1, 3])),
        ("robust", np.zeros(502, np.bool_)),
    ],
)
def test_damage_is_named(tmp_path, name, value):
    """Catches arrays of another type, length or range that reach the page."""
    path = tmp_path / "a.npz"
    path.write_bytes(kept_bytes(replace(samples.kept(), **{name: value})))
    with pytest.raises(ArtefactError, match=name):
        read_kept(path)


def test_the_file_must_be_the_reports_own(tmp_path):
    """Catches the images of another verification beside this one's verdict, and a missing file taken for damage."""
    report = samples.verification()
    path = RunFolder(tmp_path).verification("a")
    assert report.kept is not None
    assert load_kept(path, report) is None
    file = kept_path(path)
    file.write_bytes(kept_bytes(samples.kept()))
    with pytest.raises(ArtefactError, match=r"not the file that .* names"):
        load_kept(path, report)
    own = replace(report, kept=replace(report.kept, sha256=sha256_of(file)))
    path.write_text(encode_json(own))
    assert load_kept(path, own) is not None


def test_each_image_stands_with_what_the_engine_said():
    """Catches an answer beside another image, a change that is not enlarged, and images that no reader hears of."""
    kept = samples.kept()
    page = render_page(samples.facts(), kept)
    cards = page.split('<figure class="card">')[1:]
    assert len(cards) == 2
    for card, said in zip(
        cards,
        (
            ("image 3, labelled 4", "clean: 4, 81.2%", "attacked: 6, 68.8%"),
            ("image 5, labelled 7", "attacked: 7, 56.2%"),
        ),
        strict=True,
    ):
        assert all(words in card for words in said)
        assert card.count(" alt=") == 3
    assert page.index("Most confident mistakes") < page.index("image 3,") < page.index("Most confidently held")
    assert data_url(kept.images[0]) in cards[0]
    change = decoded(base64.b64decode(cards[0].split("base64,")[3].partition('"')[0]))
    whole = np.divide(kept.images[0], 255) < 1 - 9 / 255
    assert set(change[whole].tolist()) == {255}  # 9/255 everywhere, enlarged to all there is
    assert "enlarged 14 times" in page
    assert "What the engine saw" not in render_page(samples.facts())


def test_an_id_is_of_the_pixels_alone():
    """Catches two images taken for one, and one taken for two because of how it lies in memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6), np.uint8)
    ids = ids_of(pixels)
    assert len(set(ids.tolist())) == 4
    assert_array_equal(ids_of(np.asfortranarray(pixels)), ids)
    assert ids_of(pixels[1:2]) == ids[1:2]


def test_a_curve_counts_what_is_farther():
    """Catches images counted as robust at the very radius that fools them, and rounding that moves the last point."""
    eps = Radius("8/255")
    found = curve_of([0.0, np.float32(2 / 255), np.float32(8 / 255), float("inf")], eps)
    assert [(str(point.eps), point.robust_acc.value) for point in found] == [
        ("0/255", 0.75),
        ("2/255", 0.5),
        ("4/255", 0.5),
        ("6/255", 0.5),
        ("8/255", 0.25),
    ]


def test_a_histogram_has_every_run():
    """Catches runs that fall between two bins or above the last, and equal times."""
    found = histogram_of([1.0, 1.5, 2.0, 3.0, 3.001, 9.0], p95=2.0)
    assert (found.low, found.high, sum(found.counts), found.above) == (1.0, 3.0, 4, 2)
    assert (found.counts[0], found.counts[-1]) == (1, 1)
    assert sum(histogram_of([2.0, 2.0], p95=2.0).counts) == 2
