"""The loss terms against slow NumPy twins, by hand, and by the properties the papers give them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from edgerkd.distill.losses.acm import acm_loss, activated_channel_map, spatial_loss
from edgerkd.distill.losses.covariance import covariance, covariance_loss, gram, gram_loss, relative_distance
from edgerkd.distill.losses.kld import kld_loss
from edgerkd.distill.losses.mixup import Mixture, mixup, mixup_loss

seeds = st.integers(0, 2**16)


def features(seed: int, n: int = 12, d: int = 5) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def test_the_channel_map_is_one_mean_magnitude_a_channel():
    """Catches a mean over channels instead of space, and a sum instead of a mean."""
    tap = torch.tensor([[[[1.0, -3.0]], [[0.0, 2.0]]]])
    assert_close(activated_channel_map(tap), torch.tensor([[2.0, 1.0]]))


def test_acm_by_hand():
    """Catches a missing normalisation and a mean over channels: unit vectors at a right angle are 2 apart, squared."""
    assert_close(acm_loss(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.5]])), torch.tensor(2.0))


def test_spatial_maps_keep_their_places_and_meet_at_the_coarser_resolution():
    """Catches maps that are averaged over places, and a finer teacher's map cut instead of pooled."""
    same = torch.nn.Identity()
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    moved = maps.flip(3)
    assert acm_loss(activated_channel_map(moved), activated_channel_map(maps)).item() < 1e-10
    assert spatial_loss(same, moved, maps).item() > 0.05
    pooled = maps.reshape(1, 1, 2, 2, 2, 2).mean((3, 5))
    assert spatial_loss(same, pooled, maps).item() < 1e-10
    assert spatial_loss(same, maps, pooled).item() < 1e-10


@given(seeds, st.floats(0.1, 100))
def test_acm_does_not_see_scale_and_is_zero_only_where_equal(seed, scale):
    """Catches a loss that asks the student for the teacher's magnitude."""
    maps = features(seed).abs() + 0.1
    assert acm_loss(scale * maps, maps).item() < 1e-10
    assert acm_loss(maps.flip(1), maps).item() > 1e-4


@pytest.mark.parametrize("loss", [acm_loss, lambda s, t: relative_distance(covariance(s), covariance(t))])
def test_unequal_widths_are_refused_instead_of_broadcast(loss):
    """Catches torch's silent broadcast between a student of one feature and a teacher of five."""
    with pytest.raises(ValueError, match="differ in shape"):
        loss(features(0, d=1), features(1, d=5))


@given(seeds)
def test_covariance_is_torchs(seed):
    """Catches division by n, and rows taken for columns."""
    x = features(seed)
    assert_close(covariance(x), torch.cov(x.T), atol=1e-5, rtol=1e-5)


@given(seeds, st.floats(-10, 10))
def test_covariance_loss_does_not_see_a_shift_or_a_common_rotation(seed, shift):
    """Catches a missing centring, and a comparison that depends on the basis."""
    student, teacher = features(seed), features(seed + 1)
    loss = covariance_loss(student, teacher)
    assert_close(covariance_loss(student + shift, teacher - shift), loss, atol=1e-3, rtol=1e-3)
    rotation, _ = torch.linalg.qr(features(seed + 2, 5, 5))
    assert_close(covariance_loss(student @ rotation, teacher @ rotation), loss, atol=1e-3, rtol=1e-3)


@given(seeds)
def test_covariance_and_gram_losses_are_zero_only_where_equal(seed):
    """Catches a loss that is blind, and one that never reaches its minimum."""
    a, b = features(seed), features(seed + 1)
    for loss in (covariance_loss, gram_loss):
        assert loss(a, a).item() == 0
        assert loss(a, b).item() > 1e-3


def test_covariance_loss_is_free_of_scale():
    """Catches an absolute distance, whose weight would have to be tuned per network."""
    a, b = features(0), features(1)
    assert_close(covariance_loss(7 * a, 7 * b), covariance_loss(a, b), atol=1e-5, rtol=1e-5)


def test_a_student_of_any_scale_has_a_bounded_loss():
    """Catches a distance divided by the target alone, which diverged where the student's features are large."""
    a, b = features(0), features(1)
    assert covariance_loss(1e4 * a, b).item() == pytest.approx(1, abs=1e-3)
    assert covariance_loss(1e-4 * a, b).item() == pytest.approx(1, abs=1e-3)
    assert_close(covariance_loss(a, b), covariance_loss(b, a))


def test_gram_by_hand():
    """Catches a (k, k) product in place of the (n, n) one."""
    assert_close(gram(torch.tensor([[1.0, 2.0], [0.0, 3.0]])), torch.tensor([[5.0, 6.0], [6.0, 9.0]]))


@given(seeds, st.sampled_from([1.0, 3.0]))
def test_kld_has_the_target_first_sums_over_classes_and_averages_over_the_batch(seed, temperature):
    """Catches the swapped direction, and torch's `mean`, which divides by the classes too."""
    student, teacher = features(seed).numpy().astype(np.float64), features(seed + 1).numpy().astype(np.float64)

    def softmax(z):
        e = np.exp(z / temperature - (z / temperature).max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    s, t = softmax(student), softmax(teacher)
    expected = temperature**2 * (t * np.log(t / s)).sum(1).mean()
    found = kld_loss(torch.from_numpy(student), torch.from_numpy(teacher), temperature=temperature)
    assert found.item() == pytest.approx(expected, abs=1e-4)


def test_mixup_with_lam_one_is_the_first_image():
    """Catches the two images swapped."""
    images, labels = torch.rand(6, 1, 2, 2), torch.arange(6)
    mixture = mixup(images, labels, lam=torch.tensor(1.0), order=torch.arange(6).flip(0))
    assert_close(mixture.images, images)
    assert_close(mixture.labels_a, labels)


def test_mixup_pairs_each_image_with_its_partners_label():
    """Catches labels permuted in another order than images."""
    images, labels = torch.arange(6.0).reshape(6, 1, 1, 1), torch.arange(6)
    mixture = mixup(images, labels, lam=torch.tensor(0.0), order=torch.arange(6).flip(0))
    assert_close(mixture.images.flatten().long(), mixture.labels_b)
    assert mixture.labels_b.tolist() != labels.tolist()


def test_mixup_loss_weighs_the_two_labels():
    """Catches lam given to the wrong label."""
    logits = torch.tensor([[2.0, 0.0]])
    lam = torch.tensor(0.75, dtype=torch.float64)
    mixture = Mixture(torch.rand(1, 1, 1, 1), torch.tensor([0]), torch.tensor([1]), lam)
    log_p = torch.log_softmax(logits, 1)[0]
    assert_close(mixup_loss(logits, mixture), -(0.75 * log_p[0] + 0.25 * log_p[1]))
