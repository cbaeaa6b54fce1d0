"""`edgerkd export`: what is written is the student, or nothing is."""

import sys
from pathlib import Path

import pytest

from edgerkd.core.errors import ConfigError, ParityError, UnknownNameError
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.files.atomic import claim
from edgerkd.files.decode import decode_json
from edgerkd.files.profiles import load_profile
from edgerkd.jobs import export as job
from edgerkd.models.onnx_graph import onnx_from_network
from tests.runs import write_run_to_export
from tests.zoo import network


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    return write_run_to_export(tmp_path, monkeypatch, n=8)


@pytest.mark.slow
def test_a_graph_that_is_not_the_student_leaves_the_old_bundle(run, monkeypatch):
    """Catches a bundle replaced before its graph was checked."""
    job.export(run, format="onnx", progress=Silent())
    before = (run.bundle / MANIFEST).read_bytes()

    stranger = onnx_from_network(network(seed=9, classes=3))
    monkeypatch.setattr(job, "onnx_from_network", lambda student: stranger)
    with pytest.raises(ParityError, match="the bundle there was is left"):
        job.export(run, format="onnx", progress=Silent())
    assert (run.bundle / MANIFEST).read_bytes() == before


def test_a_verdict_by_another_attack_than_the_hosts_says_so(run):
    """Catches gates that compare figures of different attacks in silence."""
    from edgerkd.bundle.read import read_bundle
    from edgerkd.report.words import notes
    from edgerkd.verify.run import verify

    job.export(run, format="onnx", progress=Silent())
    bundle = read_bundle(run.bundle)
    same, other = (
        verify(bundle, engines=run.engines, backend="onnx", attack=attack, progress=Silent())
        for attack in ("fgsm", "pgd")
    )
    assert not any("the host attacked by" in note for note in notes(same))
    assert any("the host attacked by" in note for note in notes(other))


def test_two_exports_of_one_run_are_one_clear_error(run):
    """Catches a bundle that another process quietly replaces while it is made."""
    with claim(run.path), pytest.raises(ConfigError, match="another process trains or exports this run"):
        job.export(run, format="onnx", progress=Silent())
    assert not run.bundle.exists()


def test_an_export_is_for_its_format_and_for_every_device_that_is_named(run):
    """Catches a format that goes nowhere, a device named twice, and one that takes the run's own place."""
    own = decode_json(RunRecord, run.recipe).profile
    other = load_profile("raspberry-pi-5" if own.name != "raspberry-pi-5" else "x86-cpu")
    exported = job.export(run, format="onnx", profiles=(other, own), progress=Silent())
    manifest = exported.bundle.manifest
    assert manifest.format == "onnx"
    assert [profile.name for profile in manifest.profiles] == [own.name, other.name]
    assert manifest.reference is not None
    assert manifest.reference.teacher_robust_acc is not None
    assert exported.postponed is None
    assert Path(str(exported.engine)).is_relative_to(run.engines / exported.bundle.key / "onnx" / "fp32")
    with pytest.raises(UnknownNameError, match="did you mean 'onnx'"):
        job.export(run, format="onxn", progress=Silent())


def test_an_engine_that_cannot_be_built_here_is_left_to_the_device(run, monkeypatch):
    """Catches an export that fails, or claims an engine, where only the device can build it."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    exported = job.export(run, format="trt", progress=Silent())
    assert exported.engine is None
    assert "edgerkd[trt]" in str(exported.postponed)
    assert exported.bundle.manifest.format == "trt"
    assert not run.engines.exists()
