"""Several processes that train one network."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from edgerkd.core.errors import ConfigError, LostRankError
from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.distill import trainer
from edgerkd.distill.global_batch_norm import GlobalBatchNorm2d
from edgerkd.distill.noise import Noise
from edgerkd.distill.parallel import Parallel
from edgerkd.distill.trainer import Loop
from edgerkd.jobs.ranks import ALONE, Ranks, open_ranks
from tests.recipes import recipe_of
from tests.zoo import architecture, dataset, network

# In a process of its own: train, and write down what came of it.
JOB = """
import sys
from tests.unit.test_parallel import trained
import torch

state, epochs = trained(sys.argv[2])
torch.save({"state": state, "epochs": epochs}, sys.argv[1])
"""


def trained(method: str) -> tuple[dict[str, torch.Tensor], list[list[float]]]:
    """Two epochs by as many processes as there are: weights, and what the first one heard of them."""
    from edgerkd.core.progress import Silent
    from edgerkd.models.build import build

    trainer.bf16_pays = lambda device: False  # so that what differs is the order of sums alone
    torch.manual_seed(1)
    seen: list[list[float]] = []
    with open_ranks() as ranks:
        student = trainer.train(
            build(architecture(classes=3)),
            dataset(n=96),
            recipe(method=method),
            teacher=network(seed=7, family="preactresnet", widths=(16, 16), classes=3) if method == "edgerkd" else None,
            checkpoint=None,
            resume=False,
            on_epoch=lambda epoch: seen.append([sum(epoch.terms.values()), epoch.val_clean_acc, epoch.val_robust_acc]),
            progress=Silent(),
            ranks=ranks,
        ).network
    return student.state_dict(), seen


def recipe(**changes) -> Recipe:
    threat_model = ThreatModel(norm="Linf", eps=Radius("16/255"))
    given = {"method": "pgd-at", "epochs": 2, "batch": 8, "attack_steps": 2, "lr": 0.02, "ema_decay": 0.5}
    return recipe_of(threat_model=threat_model, **{**given, "cutout": 0.25, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pgd-at", "edgerkd"])
def test_two_processes_train_the_network_that_one_trains(tmp_path, monkeypatch, method):
    """Catches batch norms of half a batch, gradients that are summed, noise that both share, and weights that part.

    The statistics of method edgerkd's terms are of each process's own part: one process trains another network.
    """
    monkeypatch.setattr(trainer, "bf16_pays", trainer.bf16_pays)  # `trained` replaces it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", JOB, str(tmp_path / str(rank)), method],
            env={**os.environ, **meeting, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    state, epochs = trained(method)
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    first, second = (torch.load(tmp_path / str(rank), weights_only=True) for rank in (0, 1))
    assert len(epochs) == len(first["epochs"]) == 2
    assert second["epochs"] == []
    for name, value in first["state"].items():
        assert_close(second["state"][name], value, rtol=0, atol=0, msg=name)
    if method == "pgd-at":
        np.testing.assert_allclose(first["epochs"], epochs, rtol=1e-4)
        for name, value in state.items():
            assert_close(first["state"][name], value, rtol=1e-3, atol=1e-4)


def test_parts_of_a_batch_are_disjoint_and_complete():
    """Catches an image that two processes take, and one that none takes."""
    parts = [Parallel(rank=rank, world=3).part(torch.arange(12)) for rank in range(3)]
    assert torch.cat(parts).tolist() == list(range(12))


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_noise_is_that_of_one_process_cut_in_parts(draw, on_gpu, monkeypatch):
    """Catches processes that draw the same noise, generators that drift apart, and a range that is not the radius."""
    generators = [np.random.default_rng(0) for _ in range(3)]
    places = [Parallel(), Parallel(rank=0, world=2), Parallel(rank=1, world=2)]
    drawing = [Noise(own, torch.device("cpu"), place) for own, place in zip(generators, places, strict=True)]
    if on_gpu:  # the numbers of a GPU are drawn by torch, from a seed that the generator gives
        monkeypatch.setattr(Noise, "_on_host", property(lambda noise: False))
    whole, *parts = (
        getattr(noise, draw)((600 // place.world, 2), 0.5) for noise, place in zip(drawing, places, strict=True)
    )
    assert_close(torch.cat(parts), whole, rtol=0, atol=0)
    assert len({str(own.bit_generator.state) for own in generators}) == 1
    again = getattr(drawing[0], draw)((600, 2), 0.5)
    assert (again != whole).all()
    assert whole.dtype == torch.float32
    if draw == "uniform":
        assert 0.49 < whole.abs().max() <= 0.5
        assert -0.5 <= whole.min() < -0.49
    else:
        assert whole.std().item() == pytest.approx(0.5, rel=0.1)


def test_a_batch_that_cannot_be_shared_is_refused():
    """Catches processes with batches of different sizes, whose means would weigh images differently."""
    from edgerkd.models.build import build

    with pytest.raises(ConfigError, match=r"batch of 8 images cannot be shared by 3 processes: --set batch=6"):
        Loop.begin(
            build(architecture(classes=3)), dataset(), recipe(), teacher=None, ranks=Ranks(rank=0, world=3, group=None)
        )


def test_alone_nothing_is_copied():
    """Catches a cost where there is one process only."""
    value = torch.rand(3)
    assert ALONE.mean(value) is value
    assert ALONE.part(value).data_ptr() == value.data_ptr()


def test_a_rank_that_ends_in_training_is_one_clear_error(monkeypatch):
    """Catches gloo's own words about a closed connection, in a mean, and in a batch norm either way."""
    answers = iter([])

    def all_reduce(value, group):
        if next(answers, None) is None:
            raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr("torch.distributed.all_reduce", all_reduce)
    ranks = Parallel(rank=0, world=2)
    with pytest.raises(LostRankError, match="another rank of this command has ended"):
        ranks.mean(torch.ones(2))
    norm = GlobalBatchNorm2d(torch.nn.BatchNorm2d(3), ranks)
    with pytest.raises(LostRankError):
        norm(torch.rand(4, 3, 2, 2))
    answers = iter([1, 1])  # the other rank is there until the backward pass
    found = norm(torch.rand(4, 3, 2, 2, requires_grad=True)).square().sum()
    with pytest.raises(LostRankError):
        found.backward()
