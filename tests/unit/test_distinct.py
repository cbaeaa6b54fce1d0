"""Which images are copies of others: the quick way finds what the plain one finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerkd.verify import distinct as module
from edgerkd.verify.distinct import COPIED, distinct, near


def copies(images, others, eps: float, norm: str):
    """Which of the images (n, d) are copies of which others (m, d), by the definition."""
    moved = images[:, None] - others[None]
    if norm == "L2":
        return np.sqrt(np.square(moved).sum(2)) <= eps + 1e-6
    return (np.abs(moved) > eps + 1e-6).sum(2) <= COPIED * moved.shape[2]


def kept(images, eps: float, norm: str) -> list[int]:
    """The first image, and each that is no copy of one kept before."""
    found: list[int] = []
    alike = copies(images, images, eps, norm)
    for row in range(len(images)):
        if not alike[row, found].any():
            found.append(row)
    return found


@st.composite
def pictures(draw):
    """Images as bytes, many of them near to others in some or all of their values, or like most in brightness."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, values = draw(st.integers(1, 30)), draw(st.sampled_from([4, 21, 64, 243]))
    low, high = sorted(draw(st.tuples(st.integers(0, 255), st.integers(0, 255))))
    seeds = generator.integers(low, high + 1, (draw(st.integers(1, 6)), values))
    images = seeds[generator.integers(0, len(seeds), n)]
    moved = generator.random((n, values)) < generator.choice([0.02, 0.05, 0.08, 1.0], (n, 1))
    step = draw(st.sampled_from([2, 8, 9, 64]))
    images = np.clip(images + moved * generator.integers(-step, step + 1, (n, values)), 0, 255)
    return np.divide(images, 255, dtype=np.float32).reshape(n, 1, 1, values)


@pytest.mark.parametrize("rows", [4, 256])
@pytest.mark.parametrize("parts", [16, 512])
@settings(max_examples=60)
@given(images=pictures(), eps=st.sampled_from([0.0, 2 / 255, 8 / 255, 0.5]), norm=st.sampled_from(["Linf", "L2"]))
def test_the_quick_way_finds_what_the_definition_says(rows, parts, images, eps, norm):
    """Catches a product of matrices that tells copies apart, and a block of rows that is not held against another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", rows)
        patch.setattr(module, "_PARTS", parts)
        flat, half = images.reshape(len(images), -1), max(1, len(images) // 2)
        assert distinct(images, eps=eps, norm=norm).tolist() == kept(flat, eps, norm)
        found = near(images, images[:half][::-1], eps=eps, norm=norm)
        assert found.tolist() == copies(flat, flat[:half], eps, norm).any(1).tolist()
        pixels = np.rint(images * 255).astype(np.uint8)
        assert distinct(pixels, eps=eps, norm=norm).tolist() == kept(flat, eps, norm)
        assert near(pixels, pixels[:half], eps=eps, norm=norm).tolist() == found.tolist()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)], ids=str)
@pytest.mark.parametrize(("norm", "eps"), [("Linf", 8 / 255), ("L2", 0.5)])
def test_few_pairs_are_compared_value_by_value(monkeypatch, shape, norm, eps):
    """Catches a comparison of every image with every other, which took 22 s for 8,000 images of 8 x 8."""
    images = np.random.default_rng(0).random((600, *shape), np.float32)
    compared, plain = [], module._Comparison._copied

    def counted(self, rows, image):
        compared.append(len(rows))
        return plain(self, rows, image)

    monkeypatch.setattr(module._Comparison, "_copied", counted)
    assert len(distinct(images, eps=eps, norm=norm)) == 600
    assert sum(compared) < 600 * 599 / 2 / 100


def made_alike(n: int) -> np.ndarray:
    """Images of 3 x 32 x 32 of which no part tells two apart: they differ late, between the values that are looked at,
    and by as much below as above, so that no mean does.
    """
    groups = np.full((n, 512, 6), 128, np.int64)
    change = np.random.default_rng(0).integers(0, 2, (n, 192, 1)) * np.array([40, -40, 40, -40])
    groups[:, 320:, 1:5] += change
    return groups.astype(np.uint8).reshape(n, 3, 32, 32)


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 8 / 255), ("L2", 0.5)])
def test_images_made_to_look_alike_are_not_compared_without_end(monkeypatch, norm, eps):
    """Catches minutes of comparisons, all images counted where they were not told apart, and clear ones left out."""
    clear, alike = np.random.default_rng(1).integers(0, 256, (50, 3, 32, 32), dtype=np.uint8), made_alike(300)
    images = np.concatenate([clear, alike])
    assert len(distinct(images, eps=eps, norm=norm)) == 350
    monkeypatch.setattr(module, "COMPARED", 100 * 100 * 3072 // 2)
    compared, plain = [], module._Comparison._copied

    def counted(self, rows, image):
        compared.append(len(rows))
        return plain(self, rows, image)

    monkeypatch.setattr(module._Comparison, "_copied", counted)
    found = distinct(images, eps=eps, norm=norm)
    assert found[:50].tolist() == list(range(50)), "the parts tell these apart"
    assert 90 < len(found) < 250
    assert sum(compared) < 8 * (100 * 100 / 2 + 300)
    assert found.tolist() == distinct(images, eps=eps, norm=norm).tolist(), "another time, other images"
    seen = near(alike[:200], alike[200:], eps=eps, norm=norm)
    assert not seen[:20].any()
    assert seen[-20:].all(), "what was not told apart may be a copy of what the maker has seen"
