"""A disk that is full at any file that a command writes: one clear error, and what was there before is whole."""

import errno
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgerkd.attacks.suite import attacks_of
from edgerkd.bundle.card import CARD
from edgerkd.bundle.keys import PRIVATE, PUBLIC, own_signer
from edgerkd.bundle.plugins import open_onnx
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.signature import SIGNATURE
from edgerkd.core.errors import StorageError
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.progress import Silent
from edgerkd.core.run import RunFolder
from edgerkd.data import cache
from edgerkd.data.cache import PIXELS, RECORD, cached, data_cache
from edgerkd.distill.checkpoint import load_checkpoint
from edgerkd.files.atomic import sha256_of
from edgerkd.jobs import export as job
from edgerkd.models.store import ARCHITECTURE, WEIGHTS, load_network, save_network
from edgerkd.verify.build import RECORD as ENGINE_RECORD
from edgerkd.verify.run import verify
from edgerkd.verify.seal import SECRET
from edgerkd.verify.seal import SUFFIX as SEAL
from edgerkd.verify.signed_report import write_report
from tests.bundles import write_small_bundle
from tests.exporters.small_graphs import classifier
from tests.full_disk import full_at, litter
from tests.runs import write_small_run
from tests.unit.test_training import recipe
from tests.unit.test_training import run as train_small
from tests.zoo import dataset, network

KEYS = (PUBLIC, PRIVATE)
SCRATCH = ("model.onnx",)  # of graphs that are asked for what they answer
IN_BUNDLE = (
    *("samples.npz", "fp32.onnx", "fp32.twin.onnx", "fp32.reference.npz", "int8-unsigned.onnx"),
    *("int8-unsigned.twin.onnx", "int8-unsigned.reference.npz", "int8-signed.onnx", "int8-signed.twin.onnx"),
    *("int8-signed.reference.npz", CARD, MANIFEST, SIGNATURE),
)
ENGINES = ("engine.onnx", "twin.onnx", ENGINE_RECORD)
SEALS = (SECRET, f"{ENGINE_RECORD}{SEAL}")
"""What says that an engine was built here: without them it is built again."""


def refused(name: str) -> pytest.RaisesExc[StorageError]:
    """The error names the file where it would have been, what is wrong, and what to do."""
    where = rf"\A(?![^\n]*\.part)[^\n]*/{re.escape(name)}: "
    words = "cannot be written: No space left on device. What was there before is intact: free some space, or choose "
    return pytest.raises(StorageError, match=where + re.escape(f"{words}another folder.") + r"\Z")


@pytest.fixture(scope="module")
def exporting(tmp_path_factory):
    """A run whose host has attacked, once for all tests."""
    run = write_small_run(tmp_path_factory.mktemp("exporting") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "DEFAULT", "pgd")
        patch.setattr(job, "load_inputs", lambda run, record, progress: (dataset(n=60), network(seed=5, classes=3)))
        record = job.decode_json(job.RunRecord, run.recipe)
        material = job._material(run, record, (), 8, Silent())
        patch.setattr(job, "_material", lambda *given: material)
        patch.setattr(job, "attacks_of", lambda name: attacks_of("fgsm"))
        model = job._float_model(material, run, record, Silent())
        chosen = job.choose(model, "int8", faster=(), placement="unsigned", progress=Silent())
        patch.setattr(job, "choose", lambda *given, **named: chosen)
        yield run


def export(run: RunFolder, license: str) -> None:
    job.export(run, format="onnx", precision="int8", license=license, progress=Silent())


def whole(path: Path) -> Bundle:
    """The bundle, with every file as its manifest says."""
    bundle = read_bundle(path)
    for name, entry in bundle.manifest.files.items():
        assert sha256_of(path / name) == entry.sha256, name
    return bundle


def test_the_table_has_every_file_that_export_writes(exporting, tmp_path, monkeypatch):
    """Guards the table below: a file that is written and not in it is a file whose failure nobody has seen."""
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "config"))
    with full_at(None) as names:
        export(exporting, "MIT")
    begun = set(names) - {"bundle.json"}  # which asks whether there is room
    assert begun == {*KEYS, *SCRATCH, *IN_BUNDLE, *ENGINES, *SEALS}
    whole(exporting.bundle)


@pytest.mark.parametrize("name", [*KEYS, *SCRATCH, *IN_BUNDLE, *ENGINES])
def test_an_export_that_finds_the_disk_full_leaves_the_earlier_bundle(exporting, tmp_path, monkeypatch, name):
    """Catches half a bundle, one without its signature, a bundle that is gone, and a traceback."""
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "config"))
    export(exporting, "MIT")
    before = (exporting.bundle / MANIFEST).read_bytes()
    for path in (tmp_path / "config").iterdir():
        path.unlink()
    with refused(name), full_at(name):
        export(exporting, "Apache-2.0")
    whole(exporting.bundle)
    assert ((exporting.bundle / MANIFEST).read_bytes() == before) is (name not in ENGINES)
    assert litter(exporting.path) == litter(tmp_path) == []
    export(exporting, "Apache-2.0")
    whole(exporting.bundle)


@pytest.mark.parametrize("name", SEALS)
def test_a_seal_that_does_not_fit_costs_no_export(exporting, tmp_path, monkeypatch, name):
    """Catches an export that fails for what only saves a later build."""
    monkeypatch.setenv("EDGERKD_CONFIG", str(tmp_path / "config"))
    with full_at(name):
        export(exporting, "MIT")
    whole(exporting.bundle)
    assert litter(exporting.path) == litter(tmp_path) == []


@pytest.mark.parametrize("name", [ARCHITECTURE, WEIGHTS, "card.json"])
def test_weights_that_do_not_fit_leave_the_earlier_network(tmp_path, name):
    """Catches new weights beside an old architecture, and a folder that loads as neither."""
    folder = tmp_path / "student"
    first, second = (network(seed=seed, classes=3) for seed in (1, 2))
    save_network(first, folder, {"card.json": "first"})
    with refused(name), full_at(name):
        save_network(second, folder, {"card.json": "second"})
    found, expected = load_network(folder).state_dict(), first.state_dict()
    assert all((found[key] - expected[key]).abs().max() == 0 for key in expected)
    assert (folder / "card.json").read_text() == "first"
    assert litter(tmp_path) == []


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path):
    """Catches a run that cannot be resumed, for its checkpoint was written over by half of a later one."""
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        train_small("standard", checkpoint=path, stop_after=2)
    kept = load_checkpoint(path, recipe())
    with refused("checkpoint.pt"), full_at("checkpoint.pt"):
        train_small("standard", checkpoint=path, resume=True)
    assert load_checkpoint(path, recipe()).epoch == kept.epoch
    assert litter(tmp_path) == []
    whole_run = train_small("standard").state_dict()
    resumed = train_small("standard", checkpoint=path, resume=True).state_dict()
    assert all(torch.isclose(resumed[key], whole_run[key], rtol=0, atol=0).all() for key in whole_run)


@pytest.mark.parametrize("name", [RECORD, PIXELS])
def test_decoded_images_that_do_not_fit_are_one_error(tmp_path, monkeypatch, name):
    """Catches a mapped file that finds no room when it is filled, which ends the process by a signal."""
    monkeypatch.setenv("EDGERKD_CACHE", str(tmp_path))

    def full(handle: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(pixels) -> list[int]:
        assert name == RECORD, "the room was not asked for before the images were decoded"
        pixels[:] = 7
        return []

    with monkeypatch.context() as patch, refused(name), full_at(name):
        if name == PIXELS:
            patch.setattr(cache.os, "posix_fallocate", full)
        cached("images", (3, 8, 8, 1), fill, say=lambda line: None)
    assert litter(tmp_path) == []
    assert not (data_cache() / "images").exists()


def test_a_graph_that_has_no_room_among_temporary_files_is_named(tmp_path, monkeypatch):
    """Catches a bare OSError for a graph that is only looked at, which is an error without a fix."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with refused("model.onnx"), full_at("model.onnx"):
        open_onnx(classifier().SerializeToString())
    assert litter(tmp_path) == []


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """A bundle, and what was found of it."""
    folder = tmp_path_factory.mktemp("verified")
    write_small_bundle(folder / "bundle")
    bundle = read_bundle(folder / "bundle")
    report = verify(bundle, engines=folder / "engines", backend="onnx", attack="fgsm", progress=Silent())
    return bundle, report


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_does_not_fit_is_one_error_before_any_attack(verified, tmp_path, name):
    """Catches half an engine that a later verify takes for one that was built."""
    bundle, report = verified
    given = {"engines": tmp_path, "backend": "onnx", "attack": "fgsm", "progress": Silent()}
    with refused(name), full_at(name):
        verify(bundle, **given)
    assert litter(tmp_path) == []
    assert verify(bundle, **given).engine == report.engine


@pytest.mark.parametrize("name", ["verify.json", "verify.json.sig"])
def test_a_report_that_does_not_fit_leaves_the_earlier_one_signed(verified, tmp_path, name):
    """Catches a report cut short, an old signature beside a new report, and an old report that lost its signature."""
    _, report = verified
    path = tmp_path / "verify.json"
    write_report(path, report, own_signer())
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with refused(name), full_at(name):
        write_report(path, replace(report, seed=report.seed + 1), own_signer())
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    assert litter(tmp_path) == []


def test_kept_images_that_do_not_fit_cost_no_verdict(verified, tmp_path):
    """Catches an attack in vain for a file that only lets others look."""
    bundle, report = verified
    keep = tmp_path / "verify.images.npz"
    with full_at(keep.name) as begun:
        found = verify(
            bundle, engines=tmp_path / "engines", backend="onnx", attack="fgsm", keep=keep, progress=Silent()
        )
    assert keep.name in begun
    assert (found.kept, found.robust_acc.n) == (None, report.robust_acc.n)
    assert not keep.exists()
    assert litter(tmp_path) == []
