"""A small run folder without training: random weights, data of its own, and the record that goes with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgerkd.core.data_request import DataRequest
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset
from edgerkd.distill.methods.registry import METHODS
from edgerkd.files.atomic import write_atomic
from edgerkd.files.decode import encode_json
from edgerkd.files.profiles import load_profile
from edgerkd.jobs import export
from edgerkd.jobs.data import open_data
from edgerkd.models.cost import count_cost
from edgerkd.models.store import save_network
from tests.recipes import recipe_of
from tests.zoo import dataset, network


def write_data(path: Path, n: int = 180) -> None:
    """The zoo's bars as an .npz data set, a third of it for the test."""
    bars = dataset(n=n)
    arrays = {}
    for name, split in (("train", bars.train), ("test", bars.test)):
        arrays[f"x_{name}"], arrays[f"y_{name}"] = split.images[:, 0].numpy(), split.labels.numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def opened(folder: Path) -> Dataset:
    """The data that `write_data` wrote as bars.npz, as a run reads them."""
    return open_data(DataRequest(source=str(folder / "bars.npz")), eps=Radius("8/255"), progress=Silent())[0]


def write_small_run(folder: Path, *, seed: int = 0, n: int = 180) -> RunFolder:
    """A run whose student has the random weights of `seed`; runs in one folder share their data."""
    data = folder.parent / "bars.npz"
    write_data(data, n)
    request = DataRequest(source=str(data))
    found, threat_model = open_data(request, eps=Radius("8/255"), progress=Silent())
    student, run = network(seed=seed, classes=3), RunFolder(folder)
    save_network(student, run.student)
    record = RunRecord(
        request=request,
        data=found.facts,
        teacher=None,
        teacher_sha256=None,
        profile=load_profile("x86-cpu"),
        recipe=recipe_of("standard", threat_model),
        method=METHODS["standard"].facts,
        architecture=student.architecture,
        cost=count_cost(student.architecture)[0],
        versions={},
    )
    write_atomic(run.recipe, encode_json(record))
    return run


def write_run_to_export(folder: Path, patch: pytest.MonkeyPatch, *, n: int) -> RunFolder:
    """A small run with a teacher, of whose robustness nothing is asked: `n` test images, which the host attacks by
    FGSM.
    """
    run = write_small_run(folder / "run")
    data = opened(folder)
    inputs = replace(data, test=data.test.sample(n, seed=0)), network(seed=5, classes=3)
    patch.setattr(export, "load_inputs", lambda run, record, progress: inputs)
    patch.setattr(export, "DEFAULT", "fgsm")
    return run
