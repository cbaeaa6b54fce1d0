"""Steps that are recorded and repeated train what steps that are carried out train."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from edgerkd.core.progress import Silent
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.moment import Moment
from edgerkd.distill.replay import WARM_UP, Replay
from edgerkd.distill.trainer import Loop
from tests.recipes import recipe_of
from tests.recorder import Recorded
from tests.zoo import dataset, network

DATA = dataset(n=240)
STEPS = 14
NEVER_ALIKE = {name for name in METHODS if name.startswith("igdm")}
"""Their weights rise with every step."""
TABLE = {
    **{name: (name, {}, 1) for name in METHODS},
    "iad": ("iad", {}, 2),
    "the radius rises first": ("pgd-at", {"eps_warmup": 0.4}, 1),
    "mixacm on whole maps, then adversarial steps": ("edgerkd", {"adversarial_share": 0.5, "maps": "spatial"}, 2),
    "single steps": ("edgerkd", {"steps": 1}, 1),
    "cut out, and gradients cut short": ("trades", {"cutout": 0.3, "clip_norm": 0.1}, 1),
    "the labels' weight": ("mixacm", {"weight_label": 1.0}, 1),
    "SGD alone": ("rslad", {"optimizer": "sgd"}, 1),
}
"""A method, settings, and how often a step is recorded."""


def trained(method, settings, replay):
    """The state after some steps, and the terms of each."""
    teacher = network(seed=7, family="preactresnet", widths=(16, 16), classes=3)
    recipe = recipe_of(method, **{"batch": 16, "attack_steps": 2, **settings})
    loop = Loop.begin(network(seed=1, classes=3).train(), DATA, recipe, teacher=teacher)
    if loop.method.caches_teacher:
        loop = loop.with_cached_teacher(Silent())
    loop = replace(loop, repeats=replay)
    rows = torch.randperm(len(DATA.train), generator=torch.Generator().manual_seed(0))
    terms = []
    for step in range(STEPS):
        found = loop.step(rows[16 * (step % 4) :][:16], step / STEPS)
        terms.append({name: term.item() for name, term in found.items()})
    return loop.state.checkpoint().states, terms


@pytest.mark.parametrize("name", TABLE)
def test_a_repeated_step_is_the_one_that_would_have_been_carried_out(name):
    """Catches images, noise, mixtures or a radius of the recorded step, and whatever a GPU would be waited for."""
    method, settings, times = TABLE[name]
    recorded = Recorded()
    replay = Replay(recorded)
    states, terms = trained(method, settings, replay)
    expected, expected_terms = trained(method, settings, None)
    assert replay.refused is None
    assert len(recorded.times) == (0 if name in NEVER_ALIKE else times)
    assert name in NEVER_ALIKE or sum(recorded.times) >= STEPS * 0.6 - 2 * WARM_UP
    assert terms == expected_terms
    for part, state in expected.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                assert_close(states[part][key], value, rtol=0, atol=0, msg=f"{part} {key}")


def test_a_step_that_cannot_be_recorded_is_carried_out_with_its_own_noise():
    """Catches a run that ends for it, random numbers drawn twice, and a reason that is not kept."""

    def refuse(work):
        work()
        raise RuntimeError("operation not permitted when stream is capturing")

    replay = Replay(refuse)
    _, terms = trained("n-fgsm", {}, replay)
    assert replay.refused == "operation not permitted when stream is capturing"
    assert [each["ce_adv"] for each in terms[:WARM_UP]] == [
        each["ce_adv"] for each in trained("n-fgsm", {}, None)[1][:WARM_UP]
    ]
    assert all(0 < each["ce_adv"] < 10 for each in terms)


@pytest.mark.parametrize(
    ("asked", "at", "alike"),
    [
        ([], 0.9, True),
        ([0.5], 0.4, True),
        ([0.5], 0.5, False),
        ([0.0, 0.3], 0.29, True),
        ([0.0, 0.2, 0.3], 0.3, False),
        ([0.2], 0.1, False),
    ],
)
def test_a_moment_is_like_another_where_its_answers_are(asked, at, alike):
    """Catches a boundary on the wrong side, and a last question that hides the others."""
    moment = Moment(0.25)
    assert [moment.past(share) for share in asked] == [share <= 0.25 for share in asked]
    assert moment.like(at) == alike


def test_no_moment_is_like_one_whose_value_was_asked_for():
    """Catches a weight that stays what it was in the recorded step."""
    moment = Moment(0.25)
    assert moment.like(0.25)
    assert moment.progress() == 0.25
    assert not moment.like(0.25)
