"""Reading a run's files for a report."""

import json
import os
import re
from dataclasses import fields, replace

import pytest

from edgerkd.bundle.read import bundle_key
from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.core.manifest import MANIFEST
from edgerkd.core.run import RunFolder
from edgerkd.files.atomic import sha256_of
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.report.load import Facts, load_facts, undone
from tests.report import samples


def test_all_files_are_read(tmp_path):
    """Catches a file that is not read, or is read for another: no two of the sample are equal."""
    expected = replace(samples.facts(), manifest_sha256=None)
    assert load_facts(samples.written(expected, tmp_path / "toy-run")) == expected


@pytest.mark.parametrize("name", ["student", "teacher", "baseline", "curve", "variance_gap", "verification"])
def test_a_missing_file_is_only_absent(tmp_path, name):
    """Catches a report that cannot be made of an unfinished run, or makes up what is missing."""
    run = samples.written(replace(samples.facts(), **{name: None}), tmp_path)
    found = load_facts(run)
    assert getattr(found, name) is None
    assert {field.name for field in fields(found) if getattr(found, field.name) is None} == {
        name,
        "manifest",
        "manifest_sha256",
        "signed_by",
    }


def test_no_metrics_are_no_epochs(tmp_path):
    """Catches a run that has not finished its first epoch."""
    assert load_facts(samples.written(replace(samples.facts(), epochs=()), tmp_path)).epochs == ()


@pytest.mark.parametrize(
    "file",
    [
        *("run.json", "evaluation.json", "teacher.json", "baseline.json", f"verify-{samples.VERIFICATION_KEY}.json"),
        *("curve.json", "variance-gap.json"),
    ],
)
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"schema"', '"format"'),
        lambda text: re.sub(r'"schema": \d', '"schema": 9', text),
    ],
)
def test_a_damaged_file_is_named(tmp_path, file, damage):
    """Catches damage that passes for a missing file, and a later format that is read as this one."""
    samples.written(samples.facts(), tmp_path)
    (tmp_path / file).write_text(damage((tmp_path / file).read_text()))
    with pytest.raises(ArtefactError, match=file):
        load_facts(RunFolder(tmp_path))


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    """Catches a report of `verify` taken for a folder, in which files are said to be missing."""
    (tmp_path / "verify.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"verify\.json is a file: give the folder"):
        load_facts(RunFolder(tmp_path, bundle_name="verify.json"))


@pytest.mark.parametrize(
    "change",
    [
        {"val_clean_acc": 1.25},
        {"val_robust_acc": -0.5},
        {"lr": float("nan")},
        {"val_within_share_gap": float("inf")},
        {"terms": {"kld": float("inf")}},
        {"terms": {"kld": "much"}},
        {"terms": None},
        {"epoch": "one"},
        {"unknown": 1},
    ],
)
def test_a_damaged_line_of_metrics_is_named(tmp_path, change):
    """Catches curves drawn through figures that cannot be."""
    run = samples.written(samples.facts(), tmp_path)
    lines = run.metrics.read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), **change})
    run.metrics.write_text("\n".join(lines))
    with pytest.raises(ArtefactError, match=r"metrics\.jsonl, line 3"):
        load_facts(run)


@pytest.mark.parametrize("line", ["", "[1]", "{", "null", "{}"])
def test_a_line_that_is_no_epoch_is_named(tmp_path, line):
    """Catches a half written line that is skipped."""
    run = samples.written(samples.facts(), tmp_path)
    run.metrics.write_text(f"{line}\n{run.metrics.read_text()}")
    with pytest.raises(ArtefactError, match=r"metrics\.jsonl, line 1"):
        load_facts(run)


def test_a_folder_without_a_run_says_what_to_do(tmp_path):
    """Catches a report of nothing, and one attempted on the device."""
    with pytest.raises(ConfigError, match=r"Neither .*run\.json nor .*manifest\.json is there.*copy its report"):
        load_facts(RunFolder(tmp_path))


def test_a_verification_of_an_earlier_bundle_is_stale(tmp_path):
    """Catches a verdict that outlives the bundle it was about."""
    facts = samples.facts()
    run = samples.written(facts, tmp_path)
    assert not load_facts(run).stale
    samples.write_manifest(run.bundle, name="another bundle")
    found = load_facts(run)
    assert found.stale
    assert "the bundle was exported again after the verification: edgerkd verify" in undone(found)
    assert facts.verification is not None
    sha256 = sha256_of(run.bundle / MANIFEST)
    verified = replace(facts.verification, manifest_sha256=sha256)
    own = run.verification(bundle_key(run.bundle, sha256))
    own.write_text(encode_json(verified))
    assert not load_facts(run).stale


def test_the_report_on_the_bundle_that_lies_there_counts_before_newer_ones(tmp_path):
    """Catches the verdict of another bundle, carried there later, that is shown for the run's own."""
    facts = samples.facts()
    run = samples.written(facts, tmp_path)
    samples.write_manifest(run.bundle, name="this bundle")
    sha256 = sha256_of(run.bundle / MANIFEST)
    assert facts.verification is not None
    own = run.verification(bundle_key(run.bundle, sha256))
    own.write_text(encode_json(replace(facts.verification, manifest_sha256=sha256)))
    os.utime(own, (1, 1))
    found = load_facts(run)
    assert found.verification is not None
    assert found.verification.manifest_sha256 == sha256
    assert not found.stale
    own.unlink()
    others = [run.verification(f"elsewhere-{number}") for number in (1, 2)]
    for seed, path in enumerate(others, 1):
        path.write_text(encode_json(replace(facts.verification, seed=seed)))
        os.utime(path, (seed * 10**9 * 3, seed * 10**9 * 3))
    newest = load_facts(run)
    assert newest.verification is not None
    assert newest.verification.seed == 2
    assert newest.stale


def test_a_finished_run_lacks_nothing():
    """Catches a reproach that is always made."""
    assert undone(samples.facts()) == ()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"epochs": samples.epochs(4)}, "trained for 4 of 12 epochs: edgerkd distill --resume"),
        ({"student": None}, "the student is not evaluated yet: edgerkd evaluate"),
        ({"baseline": None}, "no standard-trained student to compare with: edgerkd demo trains one"),
        ({"verification": None}, "not verified yet: edgerkd verify"),
        (
            {"verification": None, "manifest_sha256": None},
            "not verified yet: edgerkd export, then edgerkd verify",
        ),
    ],
)
def test_what_is_not_done_is_said_with_its_command(change, line):
    """Catches silence about a missing part, and the wrong command for it."""
    assert undone(replace(samples.facts(), **change)) == (line,)


def test_the_facts_survive_json(tmp_path):
    """Catches a document of `report --json` that loses a figure."""
    path = tmp_path / "facts.json"
    path.write_text(encode_json(samples.facts()))
    assert decode_json(Facts, path) == samples.facts()
