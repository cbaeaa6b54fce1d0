"""The attacks: closed forms, the ball, the peers, and every library alike."""

from functools import partial

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch.testing import assert_close

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.apgd import apgd, checkpoints
from edgerkd.attacks.assess import assess, assess_chunk, joined
from edgerkd.attacks.attack import AttackFacts
from edgerkd.attacks.ball import length, project, random_start, steepest
from edgerkd.attacks.eot import Expected
from edgerkd.attacks.fab import boundary_step, fab_targeted
from edgerkd.attacks.losses import cross_entropy, dlr, dlr_targeted, kl_divergence, margin, margin_targeted
from edgerkd.attacks.pgd import pgd
from edgerkd.attacks.square import patch_side, square
from edgerkd.attacks.suite import attacks_named
from edgerkd.core.errors import ConfigError, EngineError, UnknownNameError
from edgerkd.core.flag import Flag
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from tests.zoo import LinearToy

EPS = 8 / 255


def toy(n: int = 64, k: int = 2, seed: int = 0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(0.2, 0.8, (n, 1, 4, 4)).astype(np.float32)
    weight = rng.normal(size=(16, k)).astype(np.float32)
    classifier = LinearToy(weight)
    labels = np.where(rng.random(n) < 0.9, classifier.logits(images).argmax(1), 0)
    return classifier, images, labels


def task_of(images, labels, *, eps="8/255", norm="Linf", seed=0) -> AttackInputs:
    threat_model = ThreatModel(norm=norm, eps=Radius(eps))
    return AttackInputs(
        images=images, labels=labels, threat_model=threat_model, seed=seed, index=np.arange(len(labels))
    )


def eps_of(inputs: AttackInputs) -> float:
    return float(inputs.threat_model.eps)


PGD = partial(pgd, loss=cross_entropy, steps=10, step_size=EPS / 4)
ATTACKS = {
    "pgd-ce": PGD,
    "pgd-margin": partial(PGD, loss=margin),
    "apgd-ce": partial(apgd, loss=cross_entropy, steps=30),
    "apgd-dlr": partial(apgd, loss=dlr, steps=30),
    "apgd-t": partial(apgd, loss=margin_targeted, steps=30, targets=1),
    "fab-t": partial(fab_targeted, steps=20, targets=1),
    "square": partial(square, queries=400),
}


def worst_case(classifier, images, labels, eps, norm):
    """Margins (n,) of a linear model of two classes, at the worst point of the ball (images far from 0 and 1)."""
    signs = np.where(labels == 0, -1, 1)[:, None]
    gradient = (classifier.weight[:, 0] - classifier.weight[:, 1])[None, :] * signs
    step = np.sign(gradient) if norm == "Linf" else gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    return wrong_margin(classifier.logits((images.reshape(len(labels), -1) + eps * step).reshape(images.shape)), labels)


def wrong_margin(logits, labels):
    rows = np.arange(len(labels))
    return logits[rows, 1 - labels] - logits[rows, labels]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "apgd-dlr"])
def test_a_linear_model_is_brought_to_its_closed_form_worst_case(name, norm):
    """Catches the identity attack, a descent, a ball half as large, a lost last step, a wrong projection."""
    classifier, images, labels = toy()
    inputs = task_of(images, labels, eps="8/255" if norm == "Linf" else "0.1", norm=norm)
    worst = worst_case(classifier, images, labels, eps_of(inputs), norm)
    run = partial(ATTACKS[name], step_size=eps_of(inputs) / 10, steps=60) if name.startswith("pgd") else ATTACKS[name]
    found = wrong_margin(classifier.logits(run(classifier, inputs)), labels)
    assert (worst > 0).any()
    assert (worst <= 0).any()
    if name == "square":  # a random search comes near, and never further
        assert (found <= worst + 2e-6).all()
        assert ((found > 0) == (worst > 0)).mean() > 0.9
        return
    # The first iterate that fools need not be the worst one; where none fools, the margins agree.
    clear = np.abs(worst) > 1e-4
    assert_array_equal((found > 0)[clear], (worst > 0)[clear])
    if name != "fab-t":  # which looks for the boundary and not for the worst point
        held = clear & (worst <= 0)
        assert_allclose(found[held], worst[held], atol=2e-3 if norm == "L2" else 5e-6)


def others(logits, labels):
    return logits.masked_fill(torch.nn.functional.one_hot(labels, logits.shape[1]).bool(), -torch.inf)


def picked(logits, labels):
    return logits.gather(1, labels[:, None])[:, 0]


def spread(logits, *, targeted):
    z = logits.sort(1, descending=True).values
    return z[:, 0] - (z[:, 2:4].mean(1) if targeted else z[:, 2])


REFERENCES = {
    "cross_entropy": (
        cross_entropy,
        lambda z, y, t: torch.nn.functional.cross_entropy(z, y, reduction="none"),
    ),
    "margin": (margin, lambda z, y, t: others(z, y).max(1).values - picked(z, y)),
    "margin_targeted": (margin_targeted, lambda z, y, t: picked(z, t) - picked(z, y)),
    "dlr": (dlr, lambda z, y, t: (others(z, y).max(1).values - picked(z, y)) / spread(z, targeted=False)),
    "dlr_targeted": (dlr_targeted, lambda z, y, t: (picked(z, t) - picked(z, y)) / spread(z, targeted=True)),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_the_written_out_derivatives_are_those_of_autograd(name):
    """Catches a sign, a missing term of a quotient, the second-best class taken for the best wrong one."""
    ours, reference = REFERENCES[name]
    logits = torch.randn(30, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    labels, targets = torch.arange(30) % 7, (torch.arange(30) + 3) % 7
    aims = (labels, targets) if name.endswith("targeted") else (labels,)
    value = reference(logits, labels, targets)
    (expected,) = torch.autograd.grad(value.sum(), logits)
    found_value, found = ours(logits.detach(), *aims)
    assert_close(found_value, value.detach())
    assert_close(found, expected)


def test_the_kl_derivative_is_that_of_autograd():
    """Catches the swapped direction."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 5, generator=generator, dtype=torch.float64).requires_grad_()
    targets = torch.randn(9, 5, generator=generator, dtype=torch.float64).softmax(1)
    value = (targets * (targets.log() - logits.log_softmax(1))).sum(1)
    (expected,) = torch.autograd.grad(value.sum(), logits)
    found_value, found = kl_divergence(logits.detach(), targets)
    assert_close(found_value, value.detach())
    assert_close(found, expected)


def test_cross_entropy_survives_logits_of_a_thousand():
    """Catches exp without the shift."""
    value, slope = cross_entropy(np.asarray([[1000.0, -1000.0]], np.float32), np.asarray([1]))
    assert np.isfinite(value).all()
    assert_allclose(slope, [[1, -1]])


@given(st.integers(0, 2**16), st.floats(0.001, 0.9), st.sampled_from(["Linf", "L2"]))
def test_projection_stays_in_the_ball_and_the_range_and_moves_nothing_twice(seed, eps, norm):
    """Catches clipping in the wrong order, a ball around the wrong point, and L2 taken per channel."""
    rng = np.random.default_rng(seed)
    images, moved = rng.random((3, 2, 2, 2)).astype(np.float32), rng.normal(size=(3, 2, 2, 2)).astype(np.float32)
    found = project(moved, images, eps=eps, norm=norm)
    assert length(found - images, norm).max() <= eps * (1 + 1e-6) + 1e-7
    assert found.min() >= 0
    assert found.max() <= 1
    assert_allclose(project(found, images, eps=eps, norm=norm), found, atol=1e-6)
    inside = np.clip(images + (moved - images) * 1e-3, 0, 1)
    if length(inside - images, norm).max() < eps:
        assert_allclose(project(inside, images, eps=eps, norm=norm), inside, atol=1e-7)


@given(st.integers(0, 2**16), st.floats(0.01, 0.9))
def test_l2_projection_is_never_further_than_any_other_point_of_the_ball_alone(seed, eps):
    """Catches a projection that is not radial: without the range, the nearest point lies on the straight line."""
    rng = np.random.default_rng(seed)
    images = np.full((1, 1, 3, 3), 0.5, np.float32)
    moved = images + rng.normal(size=images.shape).astype(np.float32) * 0.3
    found = project(moved, images, eps=min(eps, 0.4), norm="L2")
    other = images + steepest(rng.normal(size=images.shape).astype(np.float32), "L2") * min(eps, 0.4)
    assert length(moved - found, "L2") <= length(moved - other, "L2") + 1e-5


@given(st.integers(0, 2**16), st.sampled_from(["Linf", "L2"]))
def test_a_boundary_step_reaches_the_plane_stays_in_range_and_is_the_shortest(seed, norm):
    """Catches Newton's method stopped early or overshooting, and an edge of [0, 1] that is crossed."""
    rng = np.random.default_rng(seed)
    x = rng.random((4, 1, 3, 3)).astype(np.float32)
    gradient = rng.normal(size=x.shape).astype(np.float32)
    value = rng.normal(size=(4, 1, 1, 1)).astype(np.float32)
    step = boundary_step(x, gradient, value, norm)
    assert (x + step).min() >= -1e-6
    assert (x + step).max() <= 1 + 1e-6
    gained = (gradient * step).sum((1, 2, 3), keepdims=True)
    room = np.where(-np.sign(value) * gradient > 0, 1 - x, x)
    most = (np.abs(gradient) * room).sum((1, 2, 3), keepdims=True)
    reachable = np.abs(value) <= most
    assert_allclose(gained[reachable], -value[reachable], atol=1e-4)
    assert_allclose(np.abs(gained[~reachable]), most[~reachable], atol=1e-4)
    # Any other point of the plane in range is at least as far: scale random feasible moves onto the plane.
    for _ in range(20):
        other = np.clip(x + rng.normal(size=x.shape).astype(np.float32), 0, 1) - x
        along = (gradient * other).sum((1, 2, 3), keepdims=True)
        ok = (along * -value > 0) & (np.abs(along) >= np.abs(value)) & reachable
        scaled = other * (-value / np.where(ok, along, 1))
        assert (length(scaled, norm)[ok] >= length(step, norm)[ok] - 1e-4).all()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_random_start_is_the_same_on_numpy_and_torch_and_fills_the_ball(norm):
    """Catches a library's own random numbers, and a start that is no start."""
    images, seeds = np.full((200, 1, 4, 4), 0.5, np.float32), [(3, row) for row in range(200)]
    a = random_start(images, eps=EPS, norm=norm, seeds=seeds)
    b = random_start(torch.from_numpy(images), eps=EPS, norm=norm, seeds=seeds)
    assert_allclose(a, b.numpy(), atol=1e-7)
    moved = length(a - images, norm)
    assert moved.max() <= EPS + 1e-6
    assert moved.min() > 0.5 * EPS
    assert len(np.unique(a.reshape(200, -1), axis=0)) == 200


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("pgd-ce", "pgd-margin", "apgd-dlr")])
def test_eps_zero_changes_nothing(name):
    """Catches a step taken outside an empty ball."""
    classifier, images, labels = toy()
    assert_array_equal(ATTACKS[name](classifier, task_of(images, labels, eps="0")), images)


def test_step_size_above_eps_is_refused():
    """Catches the two swapped, which trained published baselines at a quarter of their radius."""
    classifier, images, labels = toy()
    with pytest.raises(ConfigError, match="swapped"):
        pgd(classifier, task_of(images, labels, eps="2/255"), loss=cross_entropy, steps=1, step_size=8 / 255)


class Passing(LinearToy):
    """Fooled on one pass only; the pass is counted from 1."""

    def __init__(self, fooled_on: int) -> None:
        super().__init__(np.zeros((16, 2), np.float32))
        self.calls, self.fooled_on = 0, fooled_on

    def logits(self, images):
        self.calls += 1
        wrong = self.calls == self.fooled_on
        return array_namespace(images).asarray([[0.0, 1.0] if wrong else [1.0, 0.0]] * images.shape[0])

    def gradient(self, images, cotangent):
        return self.logits(images), images * 0 + 1


@pytest.mark.parametrize("fooled_on", [1, 2, 5])
def test_an_iterate_that_fooled_is_kept_and_the_attack_stops_there(fooled_on):
    """Catches an attack that returns its last iterate, and one that goes on with an image that is fooled."""
    images = np.full((1, 1, 4, 4), 0.5, np.float32)
    classifier = Passing(fooled_on)
    found = pgd(
        classifier,
        task_of(images, np.asarray([0])),
        loss=cross_entropy,
        steps=4,
        step_size=EPS / 8,
        from_images=True,
    )
    assert_allclose(found - images, (fooled_on - 1) * EPS / 8, atol=1e-6)
    assert classifier.calls == fooled_on


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_numpy_and_torch_fool_the_same_images(name, norm):
    """Catches a line that means another thing on another array library."""
    classifier, images, labels = toy(n=40, k=5)
    other = LinearToy(torch.from_numpy(classifier.weight))
    eps = "8/255" if norm == "Linf" else "0.1"
    run = partial(ATTACKS[name], step_size=float(Radius(eps)) / 4) if name.startswith("pgd") else ATTACKS[name]
    a = run(classifier, task_of(images, labels, eps=eps, norm=norm))
    b = run(other, task_of(torch.from_numpy(images), torch.from_numpy(labels), eps=eps, norm=norm)).numpy()
    assert (classifier.logits(a).argmax(1) != labels).tolist() == (classifier.logits(b).argmax(1) != labels).tolist()
    assert length(a - images, norm).max() <= float(Radius(eps)) * (1 + 1e-5)
    assert length(b - images, norm).max() <= float(Radius(eps)) * (1 + 1e-5)


@pytest.mark.parametrize("name", ATTACKS)
def test_how_images_are_split_into_batches_changes_nothing(name):
    """Catches a mean over the batch, and random numbers that depend on an image's neighbours."""
    classifier, images, labels = toy(k=5)
    whole = ATTACKS[name](classifier, task_of(images, labels))
    inputs = task_of(images, labels)
    parts = []
    for rows in (slice(0, 5), slice(5, 37), slice(37, 64)):
        part = AttackInputs(
            images=images[rows],
            labels=labels[rows],
            threat_model=inputs.threat_model,
            seed=inputs.seed,
            index=inputs.index[rows],
        )
        parts.append(ATTACKS[name](classifier, part))
    assert_allclose(whole, np.concatenate(parts), atol=1e-6)


def test_checkpoints_are_the_papers():
    """Catches another schedule, and rounding that moves a mark. Source: Croce and Hein 2020, section 3.1."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_patches_shrink_by_the_papers_schedule():
    """Catches a schedule that is rescaled, and a patch as large as the image."""
    sides = [patch_side(query, 32, 32) for query in (1, 11, 51, 201, 501, 1001, 2001, 4001)]
    assert sides == [29, 20, 14, 10, 7, 5, 4, 3]
    assert patch_side(1, 3, 3) == 2


def test_nan_logits_are_an_error_in_every_attack():
    """Catches NaN, whose argmax looks like an answer."""

    class Broken(LinearToy):
        def logits(self, images):
            return super().logits(images) * np.nan

    classifier, images, labels = toy(k=5)
    for run in ATTACKS.values():
        with pytest.raises(EngineError, match="NaN or infinite logits"):
            run(Broken(classifier.weight), task_of(images, labels))


def test_an_unknown_attack_suggests_the_nearest():
    """Catches a KeyError."""
    with pytest.raises(UnknownNameError, match="did you mean 'autoattack'"):
        attacks_named("autoatack", classes=10)


def test_few_classes_fall_back_with_a_notice_and_pgd_alone_is_warned_of():
    """Catches an index error in the targeted DLR loss, and a silent change of the loss."""
    for classes in (2, 3):
        attacks, notices = attacks_named("autoattack", classes=classes)
        assert (notices[0].id, notices[0].facts) == ("too-few-classes", {"needed": 4, "classes": classes})
        classifier, images, labels = toy(n=20, k=classes)
        for attack in attacks[:3]:
            attack.run(classifier, task_of(images, labels))
    assert attacks_named("autoattack", classes=10)[1] == ()
    assert attacks_named("pgd", classes=10)[1] == (Flag(id="over-reports", facts={"name": "pgd"}),)


def test_the_worst_case_is_never_better_than_any_attack_and_more_attacks_never_raise_it():
    """Catches an attack that is left out, one that leaves the ball, and images brought back to life."""
    classifier, images, labels = toy(k=5)
    inputs = task_of(images, labels)
    heard: list[tuple[int, str]] = []
    attacks = attacks_named("apgd", classes=5)[0]
    found = assess_chunk(classifier, attacks, inputs, after=lambda done, name: heard.append((done, name)))
    assert [row.attack for row in found.rows(attacks)] == ["apgd-ce", "apgd-t"]
    assert heard[-1] == (128, "APGD-T")
    assert [k for k, _ in heard] == sorted(k for k, _ in heard)
    assert (found.resisted[1] <= found.resisted[0]).all()
    assert (found.resisted[0] <= found.clean).all()
    assert np.abs(found.images_adv - images).max() <= EPS + 1e-7
    right = classifier.logits(found.images_adv).argmax(1) == labels
    assert_array_equal(right[found.clean], found.robust[found.clean])
    assert 0 < found.robust_acc.value < found.clean_acc.value


def test_chunks_in_order_are_the_whole():
    """Catches chunks that are another evaluation than the whole, and chunks joined in the wrong order."""
    classifier, images, labels = toy(k=5)
    inputs = task_of(images, labels)
    attacks = attacks_named("apgd", classes=5)[0]
    whole = assess_chunk(classifier, attacks, inputs)
    heard: list[int] = []
    parts = list(assess(classifier, attacks, inputs, chunk=20, after=lambda done, name: heard.append(done)))
    assert [len(part.clean) for part in parts] == [20, 20, 20, 4]
    assert heard == sorted(heard)
    assert heard[-1] == 64 * len(attacks)
    found = joined(parts)
    assert_array_equal(found.images_adv, whole.images_adv)
    assert_array_equal(found.resisted, whole.resisted)
    assert_array_equal(found.clean, whole.clean)


STAY = AttackFacts(id="stay", title="stay", description="the images themselves", sources=("ours",), source="direct")


def test_whoever_stops_asking_stops_the_work():
    """Catches chunks that are attacked before anybody asks for them."""
    classifier, images, labels = toy(k=5)
    inputs = task_of(images, labels)
    attacked: list[int] = []

    def stay(_, part: AttackInputs):
        attacked.extend(part.index.tolist())
        return part.images

    chunks = assess(classifier, [STAY.ready(stay)], inputs, chunk=20)
    assert attacked == []
    next(chunks)
    assert 0 < len(attacked) <= 20
    assert max(attacked) < 20


def test_kl_attacks_leave_the_models_own_answer():
    """Catches probabilities of the wrong rows once images have left, and a start where the KL gradient is zero."""
    classifier, images, labels = toy(k=5)
    inputs = task_of(images, labels)
    attack = attacks_named("pgd-kl", classes=5)[0][0]
    found = classifier.logits(attack.run(classifier, inputs)).argmax(1)
    clean = classifier.logits(images).argmax(1)
    assert (found != labels).sum() > (clean != labels).sum() + 5


def test_the_mean_of_a_random_model_is_attacked_as_the_model_without_its_noise():
    """Catches one draw taken for the mean, and a gradient of another draw's logits."""

    class Noisy(LinearToy):
        def __init__(self, weight):
            super().__init__(weight)
            self.generator = np.random.default_rng(0)

        def logits(self, images):
            return super().logits(images) + self.generator.normal(size=(len(images), self.weight.shape[1])) * 2

    classifier, images, labels = toy(k=3)
    noisy = Expected(Noisy(classifier.weight), 400)
    inputs = task_of(images, labels)
    assert np.abs(noisy.logits(images) - classifier.logits(images)).max() < 0.6
    _, gradient = noisy.gradient(images, lambda z: cross_entropy(z, labels)[1])
    _, expected = classifier.gradient(images, lambda z: cross_entropy(z, labels)[1])
    cosine = (gradient * expected).sum() / np.linalg.norm(gradient) / np.linalg.norm(expected)
    assert cosine > 0.9
    assert eps_of(inputs) > 0


def test_the_ensemble_finds_the_gap_that_pgd_leaves():
    """Catches a suite that is blind where cross-entropy is: logits so large that its gradient underflows."""
    classifier, images, labels = toy(k=5)
    scaled = LinearToy(classifier.weight * np.float32(3e4))
    inputs = task_of(images, labels)
    ce = attacks_named("pgd", classes=5)[0][:1]
    apgds = attacks_named("apgd", classes=5)[0]
    believed, true = (assess_chunk(scaled, attacks, inputs).robust_acc.value for attacks in (ce, apgds))
    honest = assess_chunk(classifier, apgds, inputs).robust_acc.value
    assert believed > true + 0.1
    assert abs(true - honest) <= 1 / 64
