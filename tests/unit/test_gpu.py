"""The same work on the CPU and, with --run-gpu, on a GPU: what a device must not change."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from edgerkd.attacks.active_set import AttackInputs
from edgerkd.attacks.suite import attacks_named
from edgerkd.core.progress import Silent
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.augment import random_crop, random_flip
from edgerkd.distill.muon import orthogonal
from edgerkd.distill.trainer import Loop, train
from edgerkd.jobs.ranks import Ranks
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.hardware import compute_device, exact_float32
from tests.recipes import recipe_of
from tests.zoo import THREAT, dataset, network

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
N = 32


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["pgd", "apgd-ce"])
def test_an_attack_leaves_the_same_images_whatever_the_device_and_its_neighbours(name, device):
    """Catches arrays left on another device, TF32, and random numbers drawn by the batch or on the device."""
    net = network(seed=3, widths=(8, 16), blocks=(1, 1), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    images = torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = net(images).argmax(1)
    threat_model = ThreatModel(norm="Linf", eps=Radius("12/255"))
    attack = attacks_named(name, classes=10)[0][0]

    def robust(rows: slice, where: str) -> list[bool]:
        inputs = AttackInputs(
            images=images[rows].to(where),
            labels=labels[rows].to(where),
            threat_model=threat_model,
            seed=0,
            index=np.arange(N)[rows],
        )
        with exact_float32():
            classifier = TorchClassifier(net.to(where).requires_grad_(False))
            found = attack.run(classifier, inputs)
            return (classifier.logits(found).argmax(1) == inputs.labels).tolist()

    host = robust(slice(None), "cpu")
    there = robust(slice(None, N // 2), device) + robust(slice(N // 2, None), device)
    assert 0 < sum(host) < N
    assert sum(a != b for a, b in zip(host, there, strict=True)) <= 1


@pytest.mark.parametrize("device", DEVICES)
def test_augmentation_is_that_of_the_generator_on_every_device(device):
    """Catches random numbers drawn on the device, with which a seed would mean another run on another machine."""
    images = torch.arange(6 * 3 * 8 * 8, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(6, 3, 8, 8)

    def augmented(where: str) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return random_flip(random_crop(images.to(where), 1, generator), generator).cpu()

    assert augmented(device).tolist() == augmented("cpu").tolist() != images.tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_the_optimisers_directions_are_each_matrixs_own(device):
    """Catches products of several matrices in one that are mixed with each other."""
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(shape, generator=generator) for shape in ((8, 27), (8, 72), (16, 8), (16, 72), (16, 16))]
    together = orthogonal([matrix.to(device) for matrix in matrices])
    for matrix, found in zip(matrices, together, strict=True):
        assert_close(found.cpu(), orthogonal([matrix])[0], rtol=0, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["edgerkd", "mixacm", "n-fgsm", "rslad", "trades"])
def test_a_repeated_step_is_the_one_that_would_have_been_carried_out(method):
    """Catches a graph that reads memory which others have written since, and one that is never recorded."""
    data = dataset(n=300)
    recipe = recipe_of(method, replace(THREAT, eps=Radius("4/255")), batch=16, attack_steps=2)

    def terms(repeated: bool) -> list[float]:
        teacher = network(seed=2, classes=3)
        loop = Loop.begin(network(seed=1, classes=3).train(), data, recipe, teacher=teacher)
        assert loop.repeats is not None
        if loop.method.caches_teacher:
            loop = loop.with_cached_teacher(Silent())
        loop = loop if repeated else replace(loop, repeats=None)
        kept = []
        for step in range(12):
            found = loop.step(loop.rows[16 * (step % 2) :][:16], 0.5)
            kept.append(sum(float(term) for term in found.values()))
        assert loop.repeats is None or (loop.repeats.refused is None and loop.repeats.recorded)
        return kept

    np.testing.assert_allclose(terms(True), terms(False), rtol=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["pgd-at", "mixacm", "edgerkd"])
def test_training_runs_on_the_gpu_and_learns(method):
    """Catches data, teacher, adapters or weight averages left on the host."""
    assert compute_device().type == "cuda"
    assert Ranks().device.type == "cuda"
    data = dataset(n=300)
    recipe = recipe_of(method, replace(THREAT, eps=Radius("4/255")), epochs=4, batch=16)
    epochs: list[dict[str, float]] = []
    trained = train(
        network(seed=1, classes=3),
        data,
        recipe,
        teacher=network(seed=2, classes=3),
        checkpoint=None,
        resume=False,
        on_epoch=lambda epoch: epochs.append(dict(epoch.terms)),
        progress=Silent(),
    )
    assert next(trained.network.parameters()).is_cuda
    alike = [terms for terms in epochs if terms.keys() == epochs[-1].keys()]
    assert sum(alike[-1].values()) < sum(alike[0].values())
