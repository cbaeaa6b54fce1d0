"""The attack on the features that distillation matches."""

import numpy as np
import torch
from torch.testing import assert_close

from edgerkd.attacks.hunt import Task
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.distill.adapters import Adapters
from edgerkd.distill.feature_attack import FeatureDistance, feature_attack
from edgerkd.distill.losses.acm import acm_loss, activated_channel_map
from edgerkd.distill.losses.covariance import covariance_loss
from tests.zoo import network


def case():
    student, teacher = network(seed=1), network(seed=2, family="preactresnet", widths=(16, 24))
    torch.manual_seed(0)
    adapters = Adapters(student.architecture, teacher.architecture).eval().requires_grad_(False)
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
    (wanted,) = torch.autograd.grad(distance(student, teacher, adapters, x), x)
    assert_close(gradient, wanted)
    assert_close(logits, student(images))


def test_the_attack_drives_the_features_apart_and_stays_in_the_ball():
    """Catches a descent, and images that leave the threat model."""
    student, teacher, adapters, images = case()
    threat_model = ThreatModel(norm="Linf", eps=Radius("8/255"))
    task = Task(
        images=images,
        # The student's own answers: every image is right at first.
        labels=student(images).argmax(1),
        threat_model=threat_model,
        seed=0,
        index=np.arange(len(images)),
    )
    attack = feature_attack(student, teacher, adapters, threat_model)
    found = attack.run(FeatureDistance(student, teacher, adapters), task)
    assert (found - images).abs().max() <= 8 / 255 + 1e-6
    assert distance(student, teacher, adapters, found) > distance(student, teacher, adapters, images)
    assert (attack.name, attack.source) == ("PGD-40 features", "direct")


def test_adapters_are_stored_and_loaded(tmp_path):
    """Catches adapters of another pair of networks."""
    import pytest
    from safetensors.torch import save_file

    from edgerkd.core.errors import ArtefactError

    student, teacher, adapters, _ = case()
    save_file(adapters.state_dict(), tmp_path / "a.safetensors")
    again = Adapters.load(tmp_path / "a.safetensors", student.architecture, teacher.architecture)
    vectors = torch.rand(2, student.architecture.widths[-1])
    assert_close(again(vectors), adapters(vectors))
    with pytest.raises(ArtefactError, match="not the adapters between"):
        Adapters.load(tmp_path / "a.safetensors", student.architecture, network(widths=(8, 64)).architecture)
