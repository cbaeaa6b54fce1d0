"""Which epoch's weights are kept, and the bench that judges the rule."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgerkd.core.progress import Silent
from edgerkd.distill import trainer
from edgerkd.distill.kept_epoch import SLACK, KeptEpoch
from edgerkd.models.build import build
from tests.benches import bench
from tests.zoo import THREAT, dataset

shares = st.integers(0, 100).map(lambda correct: correct / 100)


def kept_of(epochs: list[tuple[float, float]], n: int) -> KeptEpoch:
    """What is kept of epochs of these robust and clean accuracies on `n` images."""
    kept = KeptEpoch(n=n)
    for number, (robust, clean) in enumerate(epochs, 1):
        kept = kept.after(number, robust=robust, clean=clean)
    return kept


@pytest.mark.parametrize(
    ("epochs", "n", "expected"),
    [
        ([(0.400, 0.65), (0.395, 0.68)], 1000, 2),  # half a point of robust accuracy is chance, three of clean are not
        ([(0.400, 0.65), (0.390, 0.68)], 1000, 1),  # a point is more than half a standard error, 0.77
        ([(0.400, 0.65), (0.390, 0.68)], 100, 2),  # of a hundred images it is one
        ([(0.395, 0.68), (0.400, 0.65)], 1000, 1),  # whichever comes first
        ([(0.400, 0.68), (0.400, 0.68)], 1000, 2),  # of equal ones the later
        ([(0.400, 0.68), (0.398, 0.68)], 1000, 1),  # of equally accurate ones the more robust
        ([(0.395, 0.68), (0.400, 0.65), (0.410, 0.60)], 1000, 3),  # which leaves the first two behind
        ([(0.400, 0.65), (0.396, 0.66), (0.391, 0.67)], 1000, 2),  # no descent step by step
        ([(0.800, 0.0), (0.810, 0.0), (0.805, 0.0)], 1000, 2),  # method standard: the most accurate
        ([(0.0, 0.1)], 1000, 1),
        ([(1.0, 1.0), (0.99, 1.0)], 1000, 1),
    ],
)
def test_the_epoch_kept_is_the_most_accurate_of_those_that_are_robust_alike(epochs, n, expected):
    """Catches the luckiest epoch of many, and clean accuracy that is bought with robust accuracy."""
    assert kept_of(epochs, n).epoch == expected


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=12), st.integers(20, 2000))
def test_no_epoch_kept_is_further_below_the_most_robust_one_than_the_slack(epochs, n):
    """Catches a slack that is taken from what is kept, so that it adds up from epoch to epoch."""
    kept = kept_of(epochs, n)
    most = max(robust for robust, _ in epochs)
    assert (kept.robust, kept.clean) == epochs[kept.epoch - 1]
    assert kept.most == most
    assert kept.robust >= most - SLACK * sqrt(most * (1 - most) / n)
    assert not any(robust >= kept.robust and clean > kept.clean for robust, clean in epochs)


BENCH = bench("kept_epoch")


def run_of(val, judged, *, seed: int = 0):
    return BENCH.Judged(case="bars", run="edgerkd", seed=seed, n_val=1000, n=4000, val=val, judged=judged)


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=12), st.integers(20, 2000))
def test_the_bench_judges_the_trainers_own_rule(epochs, n):
    """Catches a table about another rule: what the trainer keeps is at most as accurate as the best in hindsight."""
    run = replace(run_of([(clean, robust) for robust, clean in epochs], [None] * len(epochs)), n_val=n)
    own, hindsight = BENCH.RULES["the trainer's"](run), BENCH.RULES["half a standard error"](run)
    assert own == kept_of(epochs, n).epoch - 1
    assert run.val[own][0] <= run.val[hindsight][0]


def test_the_table_says_what_a_rule_gains_on_other_images():
    """Catches gains on the very images that the epoch was chosen by, and a run that is not judged taken for zero."""
    first = run_of([(0.65, 0.400), (0.68, 0.397)], [(0.60, 0.380), (0.64, 0.390)])
    second = run_of([(0.65, 0.400), (0.68, 0.350)], [None, (0.64, 0.390)], seed=1)
    lines = BENCH.table([first, second]).splitlines()
    assert lines[2] == (
        "| bars edgerkd 0 | 1 | 2: +4.0, +1.0 | 2: +4.0, +1.0 | 2: +4.0, +1.0 | 2: +4.0, +1.0 | 2: +4.0, +1.0 |"
    )
    assert lines[3].startswith("| bars edgerkd 1 | 1 | 1, not judged")
    assert lines[4].startswith("| **mean** | | **+4.0, +1.0** |")


def test_the_bench_trains_as_the_trainer_does():
    """Catches a loop of its own that has other epochs, and judged weights that are not the averaged ones."""
    study, plan = bench("study"), bench("plan")
    data = dataset(n=240)
    case = plan.Case(name="bars", data="bars", family="resnet", widths=(8,), blocks=(1,))
    opened = study.Opened(case=case, data=data, judged=data.val, threat_model=THREAT, teacher=None, start=None)
    found = BENCH.judge(opened, plan.Run(method="n-fgsm"), 3, epochs=2, n=len(data.val))
    recipe = replace(study.recipe_of(plan.Run(method="n-fgsm"), 3, opened), epochs=2)
    torch.manual_seed(3)
    seen = []
    trainer.train(
        build(case.architecture(data)),
        data,
        recipe,
        teacher=None,
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: seen.append((epoch.val_clean_acc, epoch.val_robust_acc)),
        progress=Silent(),
    )
    assert found.val == seen
    assert found.judged == [None, seen[1]]
