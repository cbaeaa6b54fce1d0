"""What training of a teacher the time pays for."""

from collections.abc import Iterator

import pytest
from torch.testing import assert_close

from edgerkd.core.recipe import Recipe
from edgerkd.distill.affordable import EPOCHS, LEAST, RESERVE, Rung, affordable_training, architecture_of, climb, ladder
from edgerkd.models.cost import count_cost
from tests.zoo import THREAT, dataset

CHEAP, MIDDLE, DEAR = (
    Rung((8,), (1,), attack_steps=steps, epochs=epochs) for steps, epochs in ((1, LEAST), (3, 8), (10, 20))
)
SECONDS = {CHEAP: 1.0, MIDDLE: 2.0, DEAR: 10.0}


@pytest.mark.parametrize(
    ("seconds", "rung", "epochs"),
    [
        (1e9, DEAR, EPOCHS),
        (300, DEAR, EPOCHS),
        (299, DEAR, 29),
        (200, DEAR, 20),
        (199, MIDDLE, EPOCHS),
        (16, MIDDLE, 8),
        (15.9, CHEAP, 15),
        (5, CHEAP, 5),
        (4.9, CHEAP, LEAST),
        (0.1, CHEAP, LEAST),
    ],
)
def test_the_longest_training_that_the_time_pays_for_is_taken(seconds, rung, epochs):
    """Catches a training of too few epochs to learn, one longer than what was asked for, and a limit off by one."""
    assert climb(SECONDS.items(), 1e-9 + seconds / (1 - RESERVE)) == (rung, epochs, epochs * SECONDS[rung])


def test_nothing_dearer_is_measured_than_the_first_that_cannot_be_paid_for():
    """Catches minutes spent on steps of a network that is out of reach."""

    def measured() -> Iterator[tuple[Rung, float]]:
        yield CHEAP, 1.0
        yield MIDDLE, 2.0
        pytest.fail("measured further")

    assert climb(measured(), 10)[0] is CHEAP


@pytest.mark.parametrize("side", [4, 8, 28, 32, 64, 224])
def test_each_rung_is_dearer_than_the_one_before(side):
    """Catches a ladder whose order ends the climb too early."""
    images = dataset(n=8, size=side)

    def passes(rung: Rung) -> float:
        return count_cost(architecture_of(rung, images))[0].macs * (1 + rung.attack_steps)

    costs = [passes(rung) for rung in ladder(side)]
    assert costs == sorted(costs)
    assert costs[-1] > 5 * costs[0]


def test_measuring_leaves_the_data_alone_and_keeps_the_rest_of_the_recipe():
    """Catches a step whose changes reach the training after it, and settings that the choice loses."""
    images, asked = (
        dataset(n=64),
        Recipe(method="pgd-at", threat_model=THREAT, epochs=1, batch=16, lr=0.125, eps_warmup=0.3, seed=5),
    )
    before = images.train.images.clone()
    training, seconds = affordable_training(images, asked, seconds=1e6, rungs=(CHEAP, MIDDLE))
    assert_close(images.train.images, before, rtol=0, atol=0)
    assert (training.architecture.widths, training.recipe.attack_steps) == ((8,), 3)
    assert (training.recipe.epochs, training.recipe.threat_model) == (EPOCHS, THREAT)
    assert (training.recipe.lr, training.recipe.eps_warmup, training.recipe.seed) == (0.125, 0.3, 5)
    assert seconds > 0
