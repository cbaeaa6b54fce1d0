"""Attacks led by bfloat16: faster, and about the same network."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.assess import assess_chunk
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.suite import ATTACKS, ENSEMBLES, attacks_of
from edgerkd.core.progress import Silent
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.jobs import attack as job
from edgerkd.jobs.attack import attack_network, leads_in_bfloat16
from edgerkd.models.classifier import NEAR, Bfloat16Classifier, TorchClassifier
from tests.unit.test_attacks import task_of
from tests.zoo import dataset, network

NETWORK = network(seed=2, classes=3, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3).requires_grad_(False)
NETWORK.linear.weight *= 20  # so that logits are as far apart as a trained network's
DATA = dataset(n=192, channels=3)
FAR = ThreatModel(norm="Linf", eps=Radius("6/255"))


def test_near_answers_are_those_of_float32_and_the_others_are_not_asked_again():
    """Catches an argmax that rounding decides, and a float32 pass for every image."""
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    exact, fast = TorchClassifier(NETWORK).logits(images), TorchClassifier(NETWORK, autocast=True).logits(images)
    margins = fast.topk(2, 1).values.diff(dim=1).neg()[:, 0]
    near = margins < NEAR
    assert 0 < near.sum() < 64
    found, _ = Bfloat16Classifier(NETWORK).gradient(images, torch.sign)
    assert_close(found[near], exact[near], rtol=1e-4, atol=1e-5)
    assert_close(found[~near], fast[~near], rtol=0, atol=0)
    assert not torch.isclose(fast, exact, rtol=1e-5, atol=1e-6).all()


def test_gradients_are_those_of_one_pass_in_bfloat16():
    """Catches a second pass in float32 that is paid for and thrown away."""
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    _, expected = TorchClassifier(NETWORK, autocast=True).gradient(images, torch.sign)
    _, found = Bfloat16Classifier(NETWORK).gradient(images, torch.sign)
    assert_close(found, expected, rtol=0, atol=0)


class Liar:
    """Says that every image is fooled."""

    def __init__(self, network) -> None:
        self.network = TorchClassifier(network)

    def logits(self, images):
        return -self.network.logits(images)

    def gradient(self, images, cotangent):
        _, gradient = self.network.gradient(images, cotangent)
        return self.logits(images), gradient


def test_an_image_counts_as_fooled_by_the_judge_alone():
    """Catches robust accuracy by the answers that led the attack, here all of them wrong."""
    images = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    judge = TorchClassifier(NETWORK)
    inputs = replace(task_of(images.numpy(), judge.logits(images).argmax(1).numpy()), images=images)
    inputs = replace(inputs, labels=judge.logits(images).argmax(1))
    found = assess_chunk(Liar(NETWORK), attacks_of("fgsm"), inputs, judge=judge)
    assert found.clean.all()
    fooled = judge.logits(torch.from_numpy(found.images_adv)).argmax(1) != inputs.labels
    assert (found.robust == ~fooled.numpy()).all()
    assert found.robust.any()


def test_logits_asked_for_alone_are_those_of_float32():
    """Catches an attack that sees no gradient and goes by rounded answers: its robust accuracy is too high."""
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = TorchClassifier(NETWORK).logits(images)
    assert_close(Bfloat16Classifier(NETWORK).logits(images), expected, rtol=0, atol=0)


WEAK = {"pgd-kl"}
"""It climbs by differences of nearly equal probabilities, which bfloat16 rounds away: which images fall is chance, of
either mode. No ensemble has it."""
FAST = {"fgsm", "pgd-20-ce", "pgd-20-margin", "pgd-kl", "noise", "pgd"}


def short(attack: Attack) -> Attack:
    """The attack with a fifth of its steps and two targets, where it takes seconds."""
    if not isinstance(attack.run, partial):
        return attack
    given = attack.run.keywords
    less = {key: max(20, given[key] // 5) for key in ("steps", "queries") if key in given}
    less |= {"targets": 2} if given.get("targets", 1) > 2 else {}
    return replace(attack, run=partial(attack.run.func, **{**given, **less}))


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("square", "pgd-100", *WEAK)])
def test_an_attack_that_bfloat16_leads_fools_the_same_images_but_one(name):
    """Catches gradients too coarse to lead an attack, and answers that bfloat16 flips.

    Cut short, an attack has not found all yet, in either mode; at full length none may leave more, which is below.
    """
    images, judge = DATA.test.images.float() / 255, TorchClassifier(NETWORK)
    labels = judge.logits(images).argmax(1)
    inputs = AttackInputs(images=images, labels=labels, threat_model=FAR, seed=0, index=DATA.test.index)
    exact, led = (
        assess_chunk(classifier, (short(ATTACKS[name]),), inputs, judge=judge).robust
        for classifier in (judge, Bfloat16Classifier(NETWORK))
    )
    assert 0.1 < exact.mean() < 0.95
    assert (led != exact).sum() <= 1


@pytest.mark.parametrize(
    "attack",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in [*ATTACKS, *ENSEMBLES]],
)
def test_both_modes_fool_the_same_images(monkeypatch, attack):
    """Catches the same at full length, for each attack and ensemble, a robust accuracy that bfloat16 flatters, and the
    host's answers changed.
    """
    monkeypatch.setattr(job, "bf16_pays", lambda device: True)
    labels = TorchClassifier(NETWORK).logits(DATA.test.images.float() / 255).argmax(1)
    given = {
        "name": "student",
        "split": "test",
        "of": len(DATA.test),
        "class_names": DATA.class_names,
        "threat_model": FAR,
        "seed": 0,
        "progress": Silent(),
        "attack": attack,
    }
    exact, led = (
        attack_network(NETWORK, replace(DATA.test, labels=labels), exact=mode, **given) for mode in (True, False)
    )
    assert (exact.evaluation.gradients, led.evaluation.gradients) == ("float32", "bfloat16")
    assert 0.1 < exact.outcomes.robust.mean() < 0.95
    differ = exact.outcomes.robust != led.outcomes.robust
    assert differ.sum() <= (4 if attack in WEAK else 1)
    for mine, theirs in zip(exact.evaluation.rows, led.evaluation.rows, strict=True):
        assert theirs.attack in WEAK or theirs.robust_acc.value <= mine.robust_acc.value, theirs.attack
    assert_close(led.reference.logits, exact.reference.logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("pays", "exact", "eot", "expected"),
    [(True, False, 1, True), (True, True, 1, False), (True, False, 8, False), (False, False, 1, False)],
)
def test_bfloat16_leads_where_it_is_faster_and_nobody_asked_for_more(monkeypatch, pays, exact, eot, expected):
    """Catches bfloat16 that is emulated, --exact that goes unheard, and answers at random that are doubted twice."""
    monkeypatch.setattr(job, "bf16_pays", lambda device: pays)
    assert leads_in_bfloat16(NETWORK, torch.device("cpu"), exact=exact, eot=eot) is expected
