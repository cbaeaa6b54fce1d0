"""Squares cut out of a batch of images."""

import torch
from torch.testing import assert_close

from edgerkd.data.augment import augment, cutout
from tests.zoo import dataset


def holes(side: int, n: int = 400) -> torch.Tensor:
    """Where each image (n, 10, 10) was changed, both channels alike, to its data's mean colour."""
    images = torch.full((n, 2, 10, 10), 7, dtype=torch.uint8)
    found = cutout(images, side, (0.2, 0.4), torch.Generator().manual_seed(0))
    hole = found != 7
    assert_close(hole[:, 0], hole[:, 1])
    assert found[:, 0][hole[:, 0]].unique().tolist() == [51]
    assert found[:, 1][hole[:, 1]].unique().tolist() == [102]
    assert (images == 7).all()
    return hole[:, 0]


def test_each_image_loses_one_square_at_its_own_place():
    """Catches one place for the whole batch, a rectangle, and a square that never reaches over the border."""
    found = holes(4)
    heights, widths = found.any(2).sum(1), found.any(1).sum(1)
    assert_close(found.sum((1, 2)), heights * widths)
    assert heights.max() == widths.max() == 4
    assert heights.min() == widths.min() == 2
    assert len(found.flatten(1).unique(dim=0)) > 50


def test_the_square_can_lie_anywhere():
    """Catches a corner that is never cut out."""
    assert holes(4).any(0).all()


def test_a_side_of_zero_draws_nothing():
    """Catches a recipe without Cutout that trains on other random numbers than before."""
    given = dataset()
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    images = given.train.images[:8]
    assert_close(augment(images, given, side=0, generator=generator), images)
    assert_close(generator.get_state(), before)
    assert (augment(images, given, side=4, generator=generator) != images).any()
