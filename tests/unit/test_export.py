"""`edgerkd export`: what is written is the student, or nothing is."""

import shutil
import sys
from pathlib import Path

import pytest

from edgerkd.bundle.samples import read_samples
from edgerkd.core.errors import ConfigError, ParityError, UnknownNameError
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.progress import Silent
from edgerkd.core.requirement import Requirement
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.files.atomic import claim
from edgerkd.files.decode import decode_json
from edgerkd.files.profiles import load_profile
from edgerkd.jobs import export as job
from edgerkd.jobs.evaluation_state import ChunkStore
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.models.store import save_network
from edgerkd.verify.asking import Asking
from tests.listening import Listening
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


def held(bundle):
    """Which images the host's attacks left."""
    return read_samples(bundle.path / bundle.manifest.samples).host_robust.tolist()


class StoppedError(Exception):
    """A kill."""


def test_an_export_goes_on_from_what_the_host_has_attacked_already(run, monkeypatch):
    """Catches a stopped export, or a second one in another precision, that attacks student and teacher once more."""
    save, saved = ChunkStore.save, []

    def save_and_stop(self, first, found):
        save(self, first, found)
        saved.append(self.digest)
        if len(saved) == 1:
            raise StoppedError

    monkeypatch.setattr(ChunkStore, "save", save_and_stop)
    with pytest.raises(StoppedError):
        job.export(run, format="onnx", precision="fp32", progress=Silent())
    ends = []
    for precision in ("fp32", "fp16"):
        listening = Listening()
        bundle = job.export(run, format="onnx", precision=precision, progress=listening).bundle
        ends.append((listening.lines, bundle.manifest.reference, held(bundle)))
    assert len(saved) == len(set(saved)) == 2, "student and teacher, once each"
    taken = "1 of 1 chunks were finished before and are taken from there"
    assert [f"student: {taken}" in lines for lines, *_ in ends] == [True, True]
    assert [f"teacher: {taken}" in lines for lines, *_ in ends] == [False, True]
    assert ends[0][1:] == ends[1][1:]
    shutil.rmtree(run.attacked)
    anew = job.export(run, format="onnx", precision="fp32", progress=Silent()).bundle
    assert (anew.manifest.reference, held(anew)) == ends[0][1:]


def test_other_images_or_weights_take_nothing_from_an_earlier_export(run, monkeypatch):
    """Catches outcomes of another student in a bundle, and a folder that grows with every export."""
    saved = []
    save = ChunkStore.save
    monkeypatch.setattr(ChunkStore, "save", lambda self, *given: saved.append(self.digest) or save(self, *given))
    job.export(run, format="onnx", precision="fp32", progress=Silent())
    job.export(run, format="onnx", precision="fp32", n=7, progress=Silent())
    assert len(set(saved)) == 4
    save_network(network(seed=77, classes=3), run.student)
    job.export(run, format="onnx", precision="fp32", n=7, progress=Silent())
    assert len(set(saved)) == len(saved) == 5, "the teacher's stand as they were"
    assert {path.name for path in run.attacked.iterdir()} == {saved[3][:16], saved[4][:16]}


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


def test_the_makers_own_thresholds_go_with_the_bundle(run):
    """Catches thresholds that only `verify` takes, which a device's user would have to know, and chance's unsaid."""
    told = Listening()
    own = Requirement(min_robust_acc=0.6, min_clean_acc=0.05)
    exported = job.export(run, format="onnx", precision="fp32", requirement=own, progress=told)
    assert exported.bundle.manifest.requirement == own
    asking = Asking(manifest=exported.bundle.manifest, profile=None, own_profile=False, own_radius=False, caller=None)
    assert asking.required(floor=0.0).gates == {"clean_acc": 0.05, "robust_acc": 0.6}
    assert any("--min-clean 0.05 counts as" in line for line in told.lines)
    assert not any("--min-robust" in line for line in told.lines)


def test_an_engine_that_cannot_be_built_here_is_left_to_the_device(run, monkeypatch):
    """Catches an export that fails, or claims an engine, where only the device can build it."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    exported = job.export(run, format="trt", progress=Silent())
    assert exported.engine is None
    assert "edgerkd[trt]" in str(exported.postponed)
    assert exported.bundle.manifest.format == "trt"
    assert not run.engines.exists()
