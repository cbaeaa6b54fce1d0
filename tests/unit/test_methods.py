"""The training methods against their formulas, written out here a second time in plain torch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from edgerkd.attacks.losses import cross_entropy
from edgerkd.core.errors import ConfigError
from edgerkd.core.recipe import eps_warmup_for
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import to_float
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.methods import (
    adaad,
    ard,
    covariance,
    edgerkd,
    iad,
    inner_attack,
    mixacm,
    n_fgsm,
    pgd_at,
    rslad,
    trades,
)
from edgerkd.distill.methods.inner_attack import ascent, gaussian_start, uniform_start
from edgerkd.distill.methods.recipes import options_of
from edgerkd.distill.methods.registry import METHODS
from edgerkd.distill.methods.step import Step
from edgerkd.distill.moment import Moment
from edgerkd.distill.noise import Noise
from edgerkd.distill.teacher_outputs import CachedTeacherOutputs, cache_teacher_outputs
from edgerkd.models.classifier import TorchClassifier
from tests.recipes import recipe_of
from tests.zoo import dataset, network

DATA = dataset(n=240)
EPS = 16 / 255
WITH_ATTACK = sorted(name for name, method in METHODS.items() if method.attack is not None)
LAST = 0.9  # of the run: every method is in its last phase


def step(method="pgd-at", *, progress=0.0, n=16, linf="16/255", student=None, norm="Linf", **changes) -> Step:
    """One batch, the student in training mode; each call draws the same noise. The teacher could be trained here."""
    student, teacher = student or network(classes=3), network(seed=7, family="preactresnet", widths=(16, 24), classes=3)
    torch.manual_seed(0)
    split = DATA.train.take(np.arange(n))
    cached = cache_teacher_outputs(teacher, split, batch=n, autocast=False, after=lambda done: None)
    threat_model = ThreatModel(norm=norm, eps=Radius(linf))
    recipe = recipe_of(method, threat_model, epochs=4, **{"attack_steps": 3, **changes})
    return Step(
        student=student.train(),
        teacher=teacher,
        adapters=Adapters(student, teacher),
        images=to_float(DATA.train.images[:n]),
        labels=DATA.train.labels[:n],
        recipe=recipe,
        options=options_of(recipe),
        moment=Moment(progress),
        generator=torch.Generator().manual_seed(0),
        noise=Noise(np.random.default_rng(0), torch.device("cpu")),
        cached_teacher=cached,
    )


class Watched:
    """A network that notes which images it sees."""

    def __init__(self, network, seen) -> None:
        self._network, self._seen = network, seen

    def features(self, images):
        self._seen.append(images.detach())
        return self._network.features(images)


def probabilities(logits, temperature=1.0):
    return torch.exp(logits / temperature) / torch.exp(logits / temperature).sum(1, keepdim=True)


def kl(target, own, temperature=1.0):
    """KL(target; own), target first: sum over classes (n,)."""
    p, q = probabilities(target, temperature), probabilities(own, temperature)
    return (p * (p.log() - q.log())).sum(1)


def adversarial(given: Step) -> torch.Tensor:
    """Some images in the ball, the same for every method."""
    noise = torch.rand(given.images.shape, generator=torch.Generator().manual_seed(1))
    return (given.images + EPS * (2 * noise - 1)).clamp(0, 1)


def terms(method, given: Step):
    return method.terms(given, given.outputs(adversarial(given)))


def total(found):
    return torch.stack(list(found.values())).sum()


def evaluated(given: Step, images):
    """The student's logits in evaluation mode."""
    given.student.eval()
    found = given.student(images)
    given.student.train()
    return found


def climbs(given: Step, images_adv, loss) -> bool:
    """Whether the images beat every one of ten random points of the ball in the mean of `loss`."""
    generator = torch.Generator().manual_seed(2)
    found = loss(images_adv).mean()
    for _ in range(10):
        noise = (2 * torch.randint(0, 2, given.images.shape, generator=generator) - 1) * EPS
        if loss((given.images + noise).clamp(0, 1)).mean() >= found:
            return False
    return True


def by_hand(given: Step, loss) -> torch.Tensor:
    """Three steps of gradient ascent on `loss` (n,) from next to the images, the student in evaluation mode."""
    given.student.eval()
    x = gaussian_start(given)
    for _ in range(3):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x).sum(), x)
        moved = x + 2.5 * EPS / 3 * gradient.sign() - given.images
        x = (given.images + moved.clamp(-EPS, EPS)).clamp(0, 1)
    return x.detach()


# Every method


def test_the_methods_are_what_they_say_that_they_need():
    """Catches a teacher asked for in vain, or not at all, and a method without words or sources for the report."""
    assert {"standard", "pgd-at", "trades", "n-fgsm"} == {m.name for m in METHODS.values() if not m.needs_teacher}
    assert {"pgd-at", "trades", "n-fgsm"} == {m.name for m in METHODS.values() if m.trains_teachers}
    for method in METHODS.values():
        assert len(method.description) > 20
        assert not method.description.endswith(".")
        assert all(len(source) > 5 for source in method.sources)
        assert method.sources


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("progress", [0.0, LAST])
def test_two_steps_lower_the_loss_and_train_the_student_alone(name, progress):
    """Catches terms without a gradient, a sign turned round, and a teacher that is trained along."""
    given = step(name, progress=progress, student=network(classes=3))
    before = {key: value.clone() for key, value in given.teacher.state_dict().items()}
    parameters = [*given.student.parameters(), *given.adapters.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.02)
    losses = []
    for number in range(3):
        # The same batch and the same noise three times over.
        again = replace(
            given,
            noise=Noise(np.random.default_rng(0), torch.device("cpu")),
            generator=torch.Generator().manual_seed(0),
        )
        loss = total(METHODS[name](again))
        losses.append(loss.item())
        if number < 2:
            optimizer.zero_grad()
            loss.backward()
            assert all(p.grad is not None for p in given.student.parameters())
            assert all(p.grad is None for p in given.teacher.parameters())
            optimizer.step()
    assert np.isfinite(losses).all()
    assert losses[2] < losses[0]
    assert given.student.training
    for key, value in given.teacher.state_dict().items():
        assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_adapters_are_trained_where_a_method_says_that_it_needs_them(name):
    """Catches random maps stored with a run, and then attacked as if they had been trained."""
    trained = False
    for progress in (0.0, LAST):
        given = step(name, progress=progress)
        total(METHODS[name](given)).backward()
        trained |= any(p.grad is not None for p in given.adapters.parameters())
    assert trained == METHODS[name].needs_adapters


@pytest.mark.parametrize("name", [name for name in WITH_ATTACK if name not in ("n-fgsm", "edgerkd")])
@pytest.mark.parametrize("steps", [1, 3])
def test_every_attack_uses_the_whole_radius_and_no_more(name, steps):
    """Catches a step size and radius swapped, which trained published baselines at a quarter of their radius."""
    given = step(name, progress=LAST, attack_steps=steps)
    images_adv = METHODS[name].attack(given)
    assert (images_adv - given.images).abs().max().item() == pytest.approx(EPS, abs=1e-6)
    assert images_adv.min() >= 0
    assert images_adv.max() <= 1
    assert given.student.training


@pytest.mark.parametrize("name", [name for name in WITH_ATTACK if name not in ("n-fgsm", "edgerkd")])
@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (LAST, 1.0)])
def test_the_radius_rises_from_0_during_eps_warmup(name, progress, share):
    """Catches a start, a step or a projection that is left at the whole radius."""
    given = step(name, progress=progress, eps_warmup=0.2)
    moved = METHODS[name].attack(given) - given.images
    assert moved.abs().max().item() == pytest.approx(share * EPS, abs=1e-6)


@pytest.mark.parametrize("steps", [2, 4])
def test_the_defaults_attack_of_several_steps_stays_in_the_ball(steps):
    """Catches an option that nobody reads, and steps from noise of two radii."""
    given = step("edgerkd", progress=LAST, steps=steps)
    moved = METHODS["edgerkd"].attack(given) - given.images
    assert moved.abs().max().item() == pytest.approx(EPS, abs=1e-6)


@pytest.mark.parametrize("name", WITH_ATTACK)
def test_the_students_mode_in_the_attack_is_the_published_one(name):
    """Catches an attack in training mode, whose steps move the batch-norm statistics, and one that should be."""
    given = step(name, progress=LAST)
    before = {key: value.clone() for key, value in given.student.named_buffers()}
    METHODS[name].attack(given)
    moved = {key for key, value in given.student.named_buffers() if (value != before[key]).any()}
    assert bool(moved) == (name in {"ard", "iad", "n-fgsm"})


def test_an_attack_in_l2_stays_in_its_ball():
    """Catches noise and steps that are cut to the cube alone."""
    given = step(norm="L2", linf="0.5")
    for start in (uniform_start, gaussian_start):
        moved = ascent(given, lambda z: cross_entropy(z, given.labels)[1], start=start) - given.images
        assert moved.flatten(1).norm(dim=1).max() <= 0.5 + 1e-5


# What each attack maximises


def test_pgd_at_maximises_the_cross_entropy():
    """Catches a descent."""
    given = step(attack_steps=10)
    found = pgd_at.attack(given)
    assert climbs(given, found, lambda x: F.cross_entropy(evaluated(given, x), given.labels, reduction="none"))


def test_rslad_maximises_the_divergence_from_the_teachers_clean_answer():
    """Catches labels, or the student's own answer, in place of the teacher's."""
    given = step(attack_steps=10)
    clean = given.teacher(given.images)
    assert climbs(given, rslad.attack(given), lambda x: kl(clean, evaluated(given, x)))


def test_trades_starts_off_the_image_where_its_divergence_has_no_gradient():
    """Catches a start at the image itself, where only rounding gives a direction, and an attack on labels."""
    given = step()
    clean = evaluated(given, given.images).detach()
    x = given.images.clone().requires_grad_()
    kl(clean, evaluated(given, x)).sum().backward()
    assert x.grad.abs().max() < 1e-6
    differs = (trades.attack(step()) - by_hand(given, lambda x: kl(clean, given.student(x)))).abs() > 1e-5
    assert differs.float().mean() < 0.01
    assert 0.0002 < (gaussian_start(step()) - given.images).abs().mean() < 0.001


def test_adaad_follows_the_gradient_through_both_networks():
    """Catches a teacher whose answer is held constant in the attack."""
    found, given, other = adaad.attack(step()), step(), step()
    expected = by_hand(given, lambda x: kl(given.teacher(x), given.student(x)))
    ignoring = by_hand(other, lambda x: kl(other.teacher(x).detach(), other.student(x)))
    # A gradient of nearly 0 may have either sign.
    assert ((found - expected).abs() > 1e-5).float().mean() < 0.01
    assert ((found - ignoring).abs() > 1e-5).float().mean() > 0.05


def test_the_cotangent_of_adaad_is_the_derivative_of_its_divergence():
    """Catches a term of the teacher's derivative left out."""
    z = torch.randn(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    kl(z[:, 5:], z[:, :5]).sum().backward()
    assert_close(adaad.discrepancy_cotangent(z.detach()), z.grad)


def test_n_fgsm_is_not_clipped_to_the_ball():
    """Catches the clipping that lets single-step training collapse, noise of one radius, and more than one step."""
    given = step()
    given = replace(given, images=0.4 + 0.2 * given.images)  # nothing is cut at 0 or 1
    moved = (n_fgsm.attack(given) - given.images).abs()
    assert moved.max() <= 3 * EPS + 1e-6
    assert moved.max() > 2.9 * EPS
    # |u + s|, with u uniform in (-2, 2) and s = 1 or -1, is 5/4 in the mean.
    assert moved.mean().item() == pytest.approx(1.25 * EPS, rel=0.05)


def test_n_fgsm_steps_up_the_cross_entropy_at_the_noisy_images():
    """Catches a gradient taken at the clean images, and a step down."""
    given = step()
    noise = torch.from_numpy(np.random.default_rng(0).random(tuple(given.images.shape), np.float32))
    noisy = (given.images + 2 * EPS * (2 * noise - 1)).clamp(0, 1)
    x = noisy.clone().requires_grad_()
    F.cross_entropy(given.student(x), given.labels).backward()
    assert_close(n_fgsm.attack(given), (noisy + EPS * x.grad.sign()).clamp(0, 1), atol=1e-6, rtol=0)


def test_n_fgsm_refuses_another_norm():
    """Catches noise of the cube's size in an L2 ball."""
    with pytest.raises(ConfigError, match="n-fgsm trains against Linf, not L2"):
        n_fgsm.attack(step(method="n-fgsm", norm="L2", linf="0.5"))


# The loss terms


def test_trades_terms_and_the_gradient_through_both_answers():
    """Catches beta left out, the direction swapped, and a clean answer held constant."""
    given = step("trades", beta_trades=5.0)
    own, own_adv = given.student(given.images), given.student(adversarial(given))
    expected = F.cross_entropy(own, given.labels) + 5 * kl(own, own_adv).mean()
    found = total(terms(trades.METHOD, given))
    assert_close(found, expected)
    weight = given.student.linear.weight
    assert_close(torch.autograd.grad(found, weight), torch.autograd.grad(expected, weight))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_terms(temperature):
    """Catches a missing square of the temperature, shares swapped, and an adversarial image."""
    given = step("kd", temperature_kd=temperature, share_kd=0.7)
    own, target = given.student(given.images), given.teacher(given.images)
    found = METHODS["kd"](given)
    assert_close(found["kld"], 0.7 * temperature**2 * kl(target, own, temperature).mean())
    assert_close(found["ce"], 0.3 * F.cross_entropy(own, given.labels))


def test_ard_terms():
    """Catches the teacher asked about the adversarial images, the direction swapped, and t in place of t squared."""
    given = step("ard")
    own_adv, target = given.student(adversarial(given)), given.teacher(given.images)
    assert_close(terms(ard.METHOD, given), {"kld_adv": 900 * kl(target, own_adv, 30.0).mean()}, rtol=1e-3, atol=1e-5)


def test_rslad_terms():
    """Catches 5/6 and 1/6 swapped, labels, and the teacher asked about the adversarial images."""
    given = step("rslad")
    target = given.teacher(given.images)
    found = terms(rslad.METHOD, given)
    assert_close(found["kld_adv"], 5 / 6 * kl(target, given.student(adversarial(given))).mean())
    assert_close(found["kld"], 1 / 6 * kl(target, given.student(given.images)).mean())


def test_adaad_terms():
    """Catches the teacher's clean answer as the target."""
    given = step()
    x = adversarial(given)
    assert_close(terms(adaad.METHOD, given), {"kld_adv": kl(given.teacher(x), given.student(x)).mean()})


def test_iad_trusts_its_teacher_first_and_then_by_its_probability_of_the_label():
    """Catches the phases swapped, w for 1 - w, a power left out, and a student pulled towards its worse answer."""
    early, late = step(progress=0.29), step(progress=0.31)
    x = adversarial(late)
    own, own_adv = late.student(late.images), late.student(x)
    target, target_adv = late.teacher(late.images), late.teacher(x)
    w = probabilities(target_adv)[torch.arange(len(x)), late.labels] ** 0.1
    soft = kl(target, own_adv).mean()
    introspection = ((1 - w) * kl(own.detach(), own_adv)).mean()
    assert_close(terms(iad.METHOD, early), {"kld_adv": soft})
    found = terms(iad.METHOD, late)
    assert_close(found, {"kld_adv": soft, "introspection": introspection})
    weight = late.student.linear.weight
    assert_close(torch.autograd.grad(found["introspection"], weight), torch.autograd.grad(introspection, weight))


@pytest.mark.parametrize("name", ["rslad", "adaad"])
def test_igdm_adds_the_divergence_of_the_differences_and_raises_its_weight(name):
    """Catches x - d replaced by x, the direction swapped, no ramp, and the base's terms lost."""
    base = METHODS[name]
    given = step(f"igdm-{name}", progress=0.5, weight_igdm=7.0)
    for net in (given.student, given.teacher):
        net.linear.weight.data.mul_(30)  # close to 0 the divergence is nearly the same in both directions
    x = adversarial(given)
    mirror = given.images - (x - given.images)
    own, target = (net(x) - net(mirror) for net in (given.student, given.teacher))
    found = terms(METHODS[f"igdm-{name}"], given)
    assert_close(found.pop("igdm"), 7.0 * 0.5 * kl(target, own).mean(), rtol=1e-4, atol=1e-6)
    assert_close(found, terms(base, given))


def test_each_igdm_method_has_the_weight_of_its_base():
    """Catches the two searched weights swapped."""
    assert [METHODS[f"igdm-{base}"].options().weight_igdm for base in ("rslad", "adaad")] == [0.9, 5.0]


# MixACM, covariance alignment, and both in turn


def test_weights_scale_their_terms():
    """Catches a weight of the recipe that goes nowhere."""
    one, two = (
        METHODS["mixacm"](step("mixacm", weight_acm=w, weight_kld=3 * w, weight_label=5 * w)) for w in (1.0, 2.0)
    )
    for name in ("acm", "kld", "mix"):
        assert_close(two[name], 2 * one[name])
    one, two = (METHODS["covariance"](step("covariance", weight_cov=w, weight_gram=3 * w)) for w in (1.0, 2.0))
    for name in ("cov", "cov_adv", "gram", "gram_adv"):
        assert_close(two[name], 2 * one[name])
    assert_close(two["kld_adv"], one["kld_adv"])


@pytest.mark.parametrize(
    ("weights", "left"),
    [
        ({}, {"kld", "acm"}),
        ({"weight_label": 1}, {"mix", "kld", "acm"}),
        ({"weight_label": 1, "weight_kld": 0}, {"mix", "acm"}),
        ({"weight_label": 1, "weight_acm": 0}, {"mix", "kld"}),
        ({"weight_label": 1, "weight_acm": 0, "weight_kld": 0}, {"mix"}),
    ],
)
def test_a_weight_of_zero_leaves_its_term_out(weights, left):
    """Catches a term that is computed for nothing, and one that is dropped with another."""
    given = step("mixacm", **weights)
    if weights.keys() >= {"weight_acm", "weight_kld"}:
        given = replace(given, teacher=None)  # nothing is asked of it
    assert METHODS["mixacm"](given).keys() == left


def test_mixacm_without_any_term_is_refused():
    """Catches a sum of no terms."""
    with pytest.raises(ConfigError, match="weight_label, weight_kld and weight_acm are all 0"):
        METHODS["mixacm"](step("mixacm", weight_label=0, weight_kld=0, weight_acm=0))


def test_an_alpha_of_zero_mixes_nothing():
    """Catches beta(0, 0), which has no value, and images that are mixed all the same."""
    given = step("mixacm", mixup_alpha=0.0, weight_label=1.0)
    own, target = given.student(given.images), given.teacher(given.images)
    found = mixacm.terms(given, given.clean)
    assert_close(found["mix"], F.cross_entropy(own, given.labels))
    assert_close(found["kld"], kl(target, own).mean())
    assert not torch.equal(found["mix"], mixacm.terms(step("mixacm", weight_label=1.0), given.clean)["mix"])  # noqa: TID251  unequal is expected


def test_spatial_maps_are_compared_on_noisy_mixtures():
    """Catches noise on MixACM's own channel maps, noise of another radius, and images beyond [0, 1]."""
    for maps, radii in (("channel", 0.0), ("spatial", 2.0)):
        given = step("mixacm", maps=maps, noise=2.0, mixup_alpha=0.0)
        seen: list[torch.Tensor] = []
        watched = replace(given, student=Watched(given.student, seen))
        mixacm.terms(watched, given.clean)
        moved = (seen[0] - given.images).abs().max().item()
        assert moved <= radii * given.eps + 1e-6
        assert moved >= 0.9 * radii * given.eps
        assert 0 <= seen[0].min() <= seen[0].max() <= 1


def test_spatial_maps_by_hand():
    """Catches an adapter applied to pooled maps, places exchanged, and the finer map not pooled."""
    given = step("mixacm", maps="spatial", noise=0.0, mixup_alpha=0.0, weight_acm=3.0)
    own, their = given.student.features(given.images).taps, given.teacher.features(given.images).taps
    expected = torch.zeros(())
    for adapter, s, t in given.adapters.pairs(own, their):
        s, t = (tap.detach().double().permute(0, 2, 3, 1) for tap in (s, t))
        if not isinstance(adapter, torch.nn.Identity):
            s = s @ adapter.weight.detach().double().T + adapter.bias.detach().double()
        a, b = (tap.flatten(1) / tap.flatten(1).norm(dim=1, keepdim=True) for tap in (s, t))
        expected = expected + (a - b).square().sum(1).mean()
    assert_close(mixacm.terms(given, given.clean)["acm"].double(), 3 * expected, rtol=1e-4, atol=1e-5)


def test_covariance_alignment_by_hand():
    """Catches the base's terms lost, and the teacher's clean statistics as the target of the adversarial ones."""
    given = step("covariance", weight_cov=0.5, weight_gram=0.25)
    x = adversarial(given)
    both = given.student.features(torch.cat([given.images, x]))
    found = terms(covariance.METHOD, given)
    target = given.teacher(given.images)
    assert_close(found["kld"], kl(target, both.logits[:16]).mean() / 6)
    assert_close(found["kld_adv"], kl(target, both.logits[16:]).mean() * 5 / 6)
    for name, rows, images in (("", slice(16), given.images), ("_adv", slice(16, 32), x)):
        fixed = given.teacher.features(images)
        a, b = torch.cov(given.adapters(both.penultimate[rows]).T), torch.cov(fixed.penultimate.T)
        expected = ((a - b) ** 2).sum() / ((a**2).sum() + (b**2).sum())
        assert_close(found[f"cov{name}"], 0.5 * expected, rtol=1e-4, atol=1e-6)
        a, b = (p @ p.T for p in (probabilities(both.logits[rows]), probabilities(fixed.logits)))
        expected = ((a - b) ** 2).sum() / ((a**2).sum() + (b**2).sum())
        assert_close(found[f"gram{name}"], 0.25 * expected, rtol=1e-4, atol=1e-6)


def test_covariance_weights_of_zero_leave_rslads_terms():
    """Catches a teacher asked about adversarial images for nothing."""
    given = step("covariance", weight_cov=0, weight_gram=0)
    adv = given.outputs(adversarial(given))
    assert covariance.terms(given, adv).keys() == {"kld", "kld_adv"}
    assert "target" not in vars(adv)


def test_a_batch_of_one_has_no_covariance():
    """Catches a division by zero that becomes a loss of NaN."""
    with pytest.raises(ConfigError, match="batch 1: a covariance needs at least 2 images"):
        METHODS["covariance"](step("covariance", n=1))


def test_edgerkd_makes_no_adversarial_image_before_its_last_phase():
    """Catches the two phases swapped, and an attack paid for and thrown away."""
    early, late = (
        step("edgerkd", progress=0.49, adversarial_share=0.5),
        step("edgerkd", progress=0.5, adversarial_share=0.5),
    )
    assert edgerkd.attack(early) is early.images
    assert edgerkd.attack(late) is not late.images
    assert METHODS["edgerkd"](early).keys() == {"kld", "acm"}
    assert METHODS["edgerkd"](late).keys() == {"kld_adv", "acm_adv", "cov_adv", "gram_adv"}
    without = step("edgerkd", progress=0.9, weight_acm_adv=0, weight_cov=0, weight_gram=0)
    assert METHODS["edgerkd"](without).keys() == {"kld_adv"}


def test_edgerkd_matches_adversarial_images_to_what_was_remembered_of_clean_ones():
    """Catches a teacher that is asked again, an answer to other images, and statistics drawn to the wrong ones."""
    weights = {"weight_acm_adv": 2.0, "weight_cov": 0.5, "weight_gram": 0.25}
    given = step("edgerkd", progress=LAST, adversarial_share=0.5, label_share=0.25, **weights)
    asked = []
    given.teacher.features = asked.append
    x = edgerkd.attack(given)
    found = edgerkd.terms(given, given.outputs(x))
    assert not asked
    own = given.student.features(x)
    soft = probabilities(given.cached_teacher.logits)
    p = 0.75 * soft + 0.25 * F.one_hot(given.labels, 3)
    assert_close(found["kld_adv"], (p * (p.log() - probabilities(own.logits).log())).sum(1).mean())
    maps = given.adapters(own.penultimate), given.cached_teacher.penultimate
    a, b = (x / x.norm(dim=1, keepdim=True) for x in maps)
    assert_close(found["acm_adv"], 2 * ((a - b) ** 2).sum(1).mean(), rtol=1e-4, atol=1e-6)
    a, b = (torch.cov(x.T) for x in maps)
    assert_close(found["cov_adv"], 0.5 * ((a - b) ** 2).sum() / ((a**2).sum() + (b**2).sum()), rtol=1e-4, atol=1e-6)
    a, b = (p @ p.T for p in (probabilities(own.logits), soft))
    assert_close(found["gram_adv"], 0.25 * ((a - b) ** 2).sum() / ((a**2).sum() + (b**2).sum()), rtol=1e-4, atol=1e-6)


def test_a_single_step_of_edgerkd_goes_from_noise_up_the_divergence():
    """Catches ten steps paid for where one was meant, the student's training statistics, and a clip to the ball."""
    given = step("edgerkd", progress=LAST, attack_steps=10, steps=1, label_share=0)
    noise = torch.from_numpy(np.random.default_rng(0).random(tuple(given.images.shape), np.float32))
    x = (given.images + 2 * EPS * (2 * noise - 1)).clamp(0, 1).requires_grad_()
    given.student.eval()
    (gradient,) = torch.autograd.grad(kl(given.cached_teacher.logits, given.student(x)).sum(), x)
    given.student.train()
    expected = (x + EPS * gradient.sign()).clamp(0, 1)
    # Folding rounds: where the gradient is nearly 0 its sign may differ.
    assert (edgerkd.attack(given) - expected).abs().gt(1e-6).float().mean() < 0.01


def test_a_single_step_of_edgerkd_stays_in_a_large_ball():
    """Catches noise that leaves nothing of an image, with which MNIST is not learned, and ten steps paid for."""
    given = step("edgerkd", progress=LAST, attack_steps=10, steps=1, label_share=0, linf="0.3")
    noise = torch.from_numpy(np.random.default_rng(0).random(tuple(given.images.shape), np.float32))
    x = (given.images + 0.3 * (2 * noise - 1)).clamp(0, 1).requires_grad_()
    given.student.eval()
    (gradient,) = torch.autograd.grad(kl(given.cached_teacher.logits, given.student(x)).sum(), x)
    given.student.train()
    expected = (x + 0.3 * gradient.sign()).clamp(given.images - 0.3, given.images + 0.3).clamp(0, 1)
    assert (edgerkd.attack(given) - expected).abs().gt(1e-5).float().mean() < 0.01


@pytest.mark.parametrize(
    ("norm", "eps", "share"),
    [("Linf", "8/255", 0), ("Linf", "32/255", 0), ("Linf", "0.2", 0), ("Linf", "0.3", 0.3), ("L2", "0.5", 0)],
)
def test_the_radius_rises_by_itself_where_it_is_large(norm, eps, share):
    """Catches MNIST at 0.3 that ends in a constant answer, and another recipe for everybody else."""
    assert eps_warmup_for(ThreatModel(norm=norm, eps=Radius(eps))) == share


@pytest.mark.parametrize("method", [n_fgsm, edgerkd])
def test_a_noisy_step_is_taken_in_the_precision_of_the_training(method):
    """Catches an inner attack in float32 beside others in bf16: a baseline that is slower than it need be."""
    seen = []

    class Noting(TorchClassifier):
        def __init__(self, network, *, autocast=False):
            seen.append(autocast)
            super().__init__(network, autocast=autocast)

    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16):
        patch.setattr(inner_attack, "TorchClassifier", Noting)
        method.attack(step(method.METHOD.name, progress=LAST))
    assert seen == [True]


def test_a_memory_is_what_the_teacher_says_to_each_image():
    """Catches features of another layer, scores that are no scores, and rows of other images."""
    teacher = network(seed=7, family="preactresnet", widths=(16, 24), classes=3).eval()
    done = []
    cached = cache_teacher_outputs(teacher, DATA.train.take(np.arange(10)), batch=4, autocast=False, after=done.append)
    with torch.no_grad():
        expected = teacher.features(to_float(DATA.train.images[:10]))
    assert_close(cached.logits.exp(), probabilities(expected.logits))
    assert_close(cached.penultimate, expected.penultimate)
    rows = torch.tensor([7, 2])
    assert_close(cached.rows(rows).logits, cached.logits[rows])
    assert done == [4, 8, 10]


def test_edgerkd_shows_the_images_that_the_teacher_gets_right():
    """Catches the mistaken ones kept in their place, and a setting that goes nowhere."""
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 0.1], [-1.0, -2.0]])
    cached = CachedTeacherOutputs(logits=logits, penultimate=torch.zeros(4, 3))
    labels = torch.tensor([0, 1, 1, 1])
    assert METHODS["edgerkd"].select_samples(cached, labels, step("edgerkd").options).tolist() == [0, 2]
    kept = step("edgerkd", keep_misclassified=True).options
    assert METHODS["edgerkd"].select_samples(cached, labels, kept).tolist() == [0, 1, 2, 3]


def test_each_network_is_asked_once_about_the_same_images():
    """Catches a teacher that answers the same question in the attack and again in the loss."""
    given = step("rslad")
    calls = {"n": 0}
    features = given.teacher.features

    def counted(images):
        calls["n"] += 1
        return features(images)

    given.teacher.features = counted
    METHODS["rslad"](given)
    assert calls["n"] == 1
