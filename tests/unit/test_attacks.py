"""PGD and its losses: the closed form, the ball, the peers."""

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch.testing import assert_close

from edgerkd.attacks.battery import BATTERY, run_battery
from edgerkd.attacks.losses import cross_entropy, kl_divergence, margin
from edgerkd.attacks.pgd import ascend, pgd, random_start
from edgerkd.attacks.projection import project_linf
from edgerkd.core.errors import ConfigError
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.models.classifier import TorchClassifier
from tests.zoo import LinearToy, network

EPS = 8 / 255


def toy(n: int = 64, k: int = 2, seed: int = 0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(0.2, 0.8, (n, 1, 4, 4)).astype(np.float32)
    weight = rng.normal(size=(16, k)).astype(np.float32)
    classifier = LinearToy(weight)
    labels = np.where(rng.random(n) < 0.9, classifier.logits(images).argmax(1), 0)
    return classifier, images, labels


def attack(classifier, images, labels, **changes):
    given = {"eps": EPS, "steps": 10, "step_size": EPS / 4, "generator": np.random.default_rng(0)}
    return pgd(classifier, images, labels, **{**given, **changes})


def test_a_linear_model_is_brought_to_its_closed_form_worst_case():
    """Catches the identity attack, a descent, a ball half as large, and the last step lost."""
    classifier, images, labels = toy()
    signs = np.where(labels == 0, -1, 1)[:, None]
    gradient = (classifier.weight[:, 0] - classifier.weight[:, 1])[None, :] * signs
    worst = classifier.logits((images.reshape(64, -1) + EPS * np.sign(gradient)).reshape(images.shape))
    found = classifier.logits(attack(classifier, images, labels))
    rows = np.arange(64)
    # The best iterate need not be the worst case once it fools; margins agree where it does not fool.
    margin_worst = worst[rows, 1 - labels] - worst[rows, labels]
    margin_found = found[rows, 1 - labels] - found[rows, labels]
    assert_array_equal(margin_found > 0, margin_worst > 0)
    held = margin_worst <= 0
    assert held.any()
    assert_allclose(margin_found[held], margin_worst[held], atol=2e-6)


@pytest.mark.parametrize("make", [cross_entropy, margin])
def test_the_written_out_derivatives_are_those_of_autograd(make):
    """Catches a sign, a missing softmax term, a second-best class taken for the best wrong one."""
    logits = torch.randn(20, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    labels = torch.arange(20) % 7
    if make is cross_entropy:
        value = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    else:
        others = logits.masked_fill(torch.nn.functional.one_hot(labels, 7).bool(), -torch.inf)
        value = others.max(1).values - logits.gather(1, labels[:, None])[:, 0]
    (wanted,) = torch.autograd.grad(value.sum(), logits)
    found_value, found = make(labels)(logits.detach())
    assert_close(found_value, value.detach())
    assert_close(found, wanted)


def test_the_kl_derivative_is_that_of_autograd():
    """Catches the swapped direction."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 5, generator=generator, dtype=torch.float64).requires_grad_()
    targets = torch.randn(9, 5, generator=generator, dtype=torch.float64).softmax(1)
    value = (targets * (targets.log() - logits.log_softmax(1))).sum(1)
    (wanted,) = torch.autograd.grad(value.sum(), logits)
    found_value, found = kl_divergence(targets)(logits.detach())
    assert_close(found_value, value.detach())
    assert_close(found, wanted)


def test_cross_entropy_survives_logits_of_a_thousand():
    """Catches exp without the shift."""
    value, slope = cross_entropy(np.asarray([1]))(np.asarray([[1000.0, -1000.0]], np.float32))
    assert np.isfinite(value).all()
    assert_allclose(slope, [[1, -1]])


@given(st.integers(0, 2**16), st.floats(0, 0.5))
def test_projection_stays_in_the_ball_and_the_range_and_moves_nothing_twice(seed, eps):
    """Catches clipping in the wrong order and a ball around the wrong point."""
    rng = np.random.default_rng(seed)
    images, moved = rng.random((3, 1, 2, 2)).astype(np.float32), rng.normal(size=(3, 1, 2, 2)).astype(np.float32)
    found = project_linf(moved, images, eps)
    assert np.abs(found - images).max() <= eps + np.finfo(np.float32).eps
    assert found.min() >= 0
    assert found.max() <= 1
    assert_allclose(project_linf(found, images, eps), found, atol=1e-7)


def test_random_start_is_the_same_on_numpy_and_torch_and_fills_the_ball():
    """Catches a library's own random numbers, and a start that is no start."""
    images = np.full((200, 1, 4, 4), 0.5, np.float32)
    a = random_start(images, eps=EPS, generator=np.random.default_rng(3))
    b = random_start(torch.from_numpy(images), eps=EPS, generator=np.random.default_rng(3))
    assert_array_equal(a, b.numpy())
    moved = a - images
    assert -EPS <= moved.min() < -0.99 * EPS
    assert 0.99 * EPS < moved.max() <= EPS + 1e-7


def test_eps_zero_changes_nothing():
    """Catches a step taken outside an empty ball."""
    classifier, images, labels = toy()
    assert_array_equal(attack(classifier, images, labels, eps=0.0, step_size=0.1), images)


def test_step_size_above_eps_is_refused():
    """Catches the two swapped, which trained published baselines at a quarter of their radius."""
    classifier, images, labels = toy()
    with pytest.raises(ConfigError, match="swapped"):
        attack(classifier, images, labels, eps=2 / 255, step_size=8 / 255)


def test_an_iterate_that_fooled_is_kept_though_the_last_one_does_not():
    """Catches an attack that returns its last iterate only."""

    class Passing(LinearToy):
        """Its second pass is fooled, all others are right."""

        calls = 0

        def logits(self, images):
            self.calls += 1
            xp = array_namespace(images)
            wrong = self.calls == 2
            return xp.asarray([[0.0, 1.0] if wrong else [1.0, 0.0]] * images.shape[0])

        def gradient(self, images, cotangent):
            logits = self.logits(images)
            return logits, images * 0 + 1

    images = np.full((1, 1, 4, 4), 0.5, np.float32)
    found = pgd(
        Passing(np.zeros((16, 2), np.float32)),
        images,
        np.asarray([0]),
        eps=EPS,
        steps=4,
        step_size=EPS / 4,
        generator=None,
    )
    assert_allclose(found - images, EPS / 4, atol=1e-6)


def test_numpy_and_torch_give_the_same_images():
    """Catches a line that means another thing on another array library."""
    classifier, images, labels = toy(k=3)
    other = LinearToy(torch.from_numpy(classifier.weight))
    for loss in (cross_entropy, margin):
        a = attack(classifier, images, labels, loss=loss)
        b = attack(other, torch.from_numpy(images), torch.from_numpy(labels), loss=loss)
        assert (np.abs(a - b.numpy()) > 1e-6).mean() < 1e-3


def test_batches_of_any_size_give_the_same_images():
    """Catches a mean over the batch in the gradient."""
    classifier, images, labels = toy()
    whole = attack(classifier, images, labels, generator=None)
    parts = [attack(classifier, images[i : i + 5], labels[i : i + 5], generator=None) for i in range(0, 64, 5)]
    assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("steps", [1, 10])
def test_the_last_iterate_is_bit_identical_to_torchattacks_and_foolbox(steps):
    """Catches every difference in sign, step, projection or order. Peers: torchattacks 3.5.1, foolbox 3.3.4."""
    import foolbox
    import torchattacks

    net = network(channels=3, mean=(0.4,) * 3, std=(0.3,) * 3)
    images = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = net(images).argmax(1)
    loss, start = cross_entropy(labels), images
    iterates = ascend(TorchClassifier(net), images, start, loss=loss, eps=EPS, step_size=2 / 255, steps=steps)
    *_, (ours, _) = iterates
    theirs = torchattacks.PGD(net, eps=EPS, alpha=2 / 255, steps=steps, random_start=False)(images, labels)
    assert_close(ours, theirs, rtol=0, atol=0)
    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    peer = foolbox.attacks.LinfPGD(abs_stepsize=2 / 255, steps=steps, random_start=False)
    _, clipped, _ = peer(model, images, labels, epsilons=EPS)
    assert_close(ours, clipped, rtol=0, atol=0)


def test_the_battery_stays_in_the_ball_and_every_row_counts():
    """Catches an attack that is left out, and one that leaves the threat model."""
    classifier, images, labels = toy()
    heard: list[tuple[int, str]] = []
    outcomes = list(
        run_battery(
            classifier,
            images,
            labels,
            threat_model=ThreatModel(norm="Linf", eps=Radius("8/255")),
            seed=0,
            batch=10,
            after=lambda done, name: heard.append((done, name)),
        )
    )
    assert [o.name for o in outcomes] == list(BATTERY)
    assert heard[-1] == (64 * len(BATTERY), list(BATTERY)[-1])
    clean = (classifier.logits(images).argmax(1) == labels).mean()
    for outcome in outcomes:
        assert np.abs(outcome.images_adv - images).max() <= EPS + np.finfo(np.float32).eps
        assert_array_equal(outcome.resisted, classifier.logits(outcome.images_adv).argmax(1) == labels)
        assert outcome.resisted.mean() < clean
