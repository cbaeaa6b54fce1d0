"""`edgerkd export`: what is written is the student, or nothing is."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgerkd.core.data_request import DataRequest
from edgerkd.core.errors import ParityError
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.progress import Silent
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Dataset
from edgerkd.jobs import export as job
from edgerkd.jobs.data import open_data
from edgerkd.models.onnx_graph import onnx_from_network
from tests.runs import write_small_run
from tests.zoo import network


def opened(folder: Path) -> Dataset:
    return open_data(DataRequest(source=str(folder / "bars.npz")), eps=Radius("8/255"), progress=Silent())[0]


def test_a_graph_that_is_not_the_student_leaves_the_old_bundle(tmp_path, monkeypatch):
    """Catches a bundle replaced before its graph was checked."""
    run = write_small_run(tmp_path / "run")
    dataset, teacher = opened(tmp_path), network(seed=5, classes=3)
    monkeypatch.setattr(job, "load_inputs", lambda run, record, progress: (dataset, teacher))
    job.export(run, exporter_name="onnx", progress=Silent())
    before = (run.bundle / MANIFEST).read_bytes()

    stranger = onnx_from_network(network(seed=9, classes=3))
    monkeypatch.setattr(job, "onnx_from_network", lambda student: stranger)
    with pytest.raises(ParityError, match="the bundle there was is left"):
        job.export(run, exporter_name="onnx", progress=Silent())
    assert (run.bundle / MANIFEST).read_bytes() == before


def test_a_verdict_by_another_attack_than_the_hosts_says_so(tmp_path, monkeypatch):
    """Catches gates that compare figures of different attacks in silence."""
    from edgerkd.verify.run import verify

    run = write_small_run(tmp_path / "run")
    dataset = opened(tmp_path)
    dataset = replace(dataset, test=dataset.test.sample(8, seed=0))
    monkeypatch.setattr(job, "load_inputs", lambda run, record, progress: (dataset, network(seed=5, classes=3)))
    job.export(run, exporter_name="onnx", progress=Silent())
    same, other = (
        verify(
            run.bundle,
            engines=run.engines,
            runtime_name="onnxruntime",
            attack=attack,
            seed=0,
            progress=Silent(),
        )
        for attack in ("pgd", "apgd-ce")
    )
    assert not any("were attacked by" in note for note in same.notes)
    assert any("were attacked by" in note for note in other.notes)
