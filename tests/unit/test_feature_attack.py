"""The attack on the features that distillation matches."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.core.errors import ArtefactError
from edgerkd.core.progress import Silent
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.feature_attack import FeatureDistance, feature_attack
from edgerkd.distill.losses.acm import acm_loss, activated_channel_map, taps_loss
from edgerkd.distill.losses.covariance import covariance_loss
from edgerkd.distill.trainer import train
from edgerkd.models.build import build
from tests.recipes import recipe_of
from tests.zoo import THREAT, architecture, dataset, network


def case():
    student, teacher = network(seed=1), network(seed=2, family="preactresnet", widths=(16, 24))
    torch.manual_seed(0)
    adapters = Adapters(student, teacher).eval().requires_grad_(False)
    images = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return student.requires_grad_(False), teacher.requires_grad_(False), adapters, images


def distance(student, teacher, adapters, images) -> torch.Tensor:
    own, target = student.features(images), teacher.features(images)
    acm = [
        acm_loss(adapter(activated_channel_map(s)), activated_channel_map(t))
        for adapter, s, t in adapters.pairs(own.taps, target.taps)
    ]
    return torch.stack(acm).sum() + covariance_loss(adapters(own.penultimate), target.penultimate)


def test_the_gradient_is_that_of_the_distance_to_the_teacher():
    """Catches a teacher held constant, a tap left out, and a gradient of the logits."""
    student, teacher, adapters, images = case()
    logits, gradient = FeatureDistance(student, teacher, adapters).gradient(images, lambda z: z)
    x = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(distance(student, teacher, adapters, x), x)
    assert_close(gradient, expected)
    assert_close(logits, student(images))


def test_the_attack_drives_the_features_apart_and_stays_in_the_ball():
    """Catches a descent, and images that leave the threat model."""
    student, teacher, adapters, images = case()
    threat_model = ThreatModel(norm="Linf", eps=Radius("8/255"))
    inputs = AttackInputs(
        images=images,
        # The student's own answers: every image is right at first.
        labels=student(images).argmax(1),
        threat_model=threat_model,
        seed=0,
        index=np.arange(len(images)),
    )
    attack = feature_attack(student, teacher, adapters)
    found = attack.run(FeatureDistance(student, teacher, adapters), inputs)
    assert (found - images).abs().max() <= 8 / 255 + 1e-6
    assert distance(student, teacher, adapters, found) > distance(student, teacher, adapters, images)
    assert (attack.id, attack.title, attack.source) == ("pgd-40-features", "PGD-40 features", "direct")


@pytest.mark.parametrize(
    ("method", "changes", "trained"),
    [
        ("mixacm", {}, {"taps.0", "taps.1"}),
        ("mixacm", {"weight_acm": 0.0}, set()),
        ("covariance", {"attack_steps": 1}, {"penultimate"}),
        ("covariance", {"attack_steps": 1, "weight_cov": 0.0}, set()),
        ("edgerkd", {"adversarial_share": 0.5}, {"taps.0", "taps.1", "penultimate"}),
        ("edgerkd", {"adversarial_share": 1.0}, {"penultimate"}),
        ("edgerkd", {"adversarial_share": 0.0}, {"taps.0", "taps.1"}),
    ],
)
def test_only_maps_that_were_trained_are_kept(method, changes, trained):
    """Catches a random map, whose features an attack would climb for nothing; with `all` of the maps, not with any."""
    student = build(architecture(classes=3))
    data = dataset(n=96)
    recipe = recipe_of(method, THREAT, epochs=2, batch=16, lr=0.02, **changes)
    found = train(
        student,
        data,
        recipe,
        teacher=network(seed=2, family="preactresnet", widths=(12, 24), classes=3),
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: None,
        progress=Silent(),
    ).adapters
    kept = set() if found is None else {name.rpartition(".")[0] for name in found.state_dict()}
    assert kept == trained


def test_the_attack_is_on_the_maps_that_there_are(tmp_path):
    """Catches a map that was left out of the file and is put back at random, and one whose bias alone is lost."""
    from safetensors.torch import save_file

    student, teacher, adapters, images = case()
    for left, expected in (("taps.", "taps"), ("penultimate.", "penultimate")):
        state = {name: value for name, value in adapters.state_dict().items() if name.startswith(left)}
        save_file(state, tmp_path / "a.safetensors")
        some = Adapters.load(tmp_path / "a.safetensors", student, teacher)
        x = images.clone().requires_grad_()
        own, target = student.features(x), teacher.features(x)
        distance = {
            # The first tap's widths differ from the teacher's, the last one's as well: no map is the identity.
            "taps": lambda own=own, target=target: taps_loss(adapters.pairs(own.taps, target.taps)),
            "penultimate": lambda own=own, target=target: covariance_loss(
                adapters(own.penultimate), target.penultimate
            ),
        }[expected]()
        (gradient,) = torch.autograd.grad(distance, x)
        assert_close(FeatureDistance(student, teacher, some).gradient(images, lambda z: z)[1], gradient)
        alone = FeatureDistance(student, teacher, some).gradient(images[:1], lambda z: z)[1]
        assert bool(alone.any()) == (expected == "taps")
    save_file({"taps.0.weight": adapters.state_dict()["taps.0.weight"]}, tmp_path / "a.safetensors")
    with pytest.raises(ArtefactError, match="not the adapters between"):
        Adapters.load(tmp_path / "a.safetensors", student, teacher)


def test_a_map_between_equal_widths_stays():
    """Catches the identity, which nothing trains, dropped as if it were random."""
    adapters = Adapters(network(), network(widths=(8, 24)))
    adapters.keep(())
    assert [type(tap) for tap in adapters.taps] == [type(None), torch.nn.Identity]
    assert adapters.penultimate is None
    assert not adapters.empty()


def test_adapters_are_stored_and_loaded(tmp_path):
    """Catches adapters of another pair of networks."""
    from safetensors.torch import save_file

    student, teacher, adapters, _ = case()
    save_file(adapters.state_dict(), tmp_path / "a.safetensors")
    again = Adapters.load(tmp_path / "a.safetensors", student, teacher)
    vectors = torch.rand(2, student.architecture.widths[-1])
    assert_close(again(vectors), adapters(vectors))
    with pytest.raises(ArtefactError, match="not the adapters between"):
        Adapters.load(tmp_path / "a.safetensors", student, network(widths=(8, 64)))
