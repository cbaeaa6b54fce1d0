"""What a person has at a path that they name for a result: it is replaced only by its own kind."""

from pathlib import Path

import pytest

from edgerkd.bundle.read import read_bundle
from tests.foreign import bars_network, write_data

ASKED = ("--data", "data.npz", "--eps", "8/255", "--normalize", "none")
VERIFY = ("verify", "mine.onnx", *ASKED, "--measure", "--attack", "fgsm")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder of a person's own files, with a network and data among them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.onnx").write_bytes(bars_network())
    write_data(tmp_path / "data.npz")
    (tmp_path / "notes.txt").write_text("not written by edgerkd")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.txt").write_text("the only copy")
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("mine")
    (tmp_path / "package.json").write_text('{"name": "a project"}')
    (tmp_path / "logo.svg").write_text('<?xml version="1.0"?><svg/>')
    (tmp_path / "comparison.html").write_text("<!DOCTYPE html><title>mine</title>")
    (tmp_path / "report-photos.html").write_text("<!DOCTYPE html><title>mine</title>")
    (tmp_path / "empty.json").touch()
    (tmp_path / "empty.images.npz").write_bytes((tmp_path / "data.npz").read_bytes())
    (tmp_path / "kept.images.npz").write_bytes((tmp_path / "data.npz").read_bytes())
    (tmp_path / "signed.json.sig").write_text("a signature of something else")
    (tmp_path / "models").mkdir()
    for name in ("fp32.onnx", "int8.onnx", "fp16-mine.onnx"):
        (tmp_path / "models" / name).write_bytes(bars_network())
    (tmp_path / "models" / "samples.npz").write_bytes((tmp_path / "data.npz").read_bytes())
    (tmp_path / "models" / "README.md").write_text("my networks")
    return tmp_path


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "command",
    [
        ("bundle", "mine.onnx", *ASKED, "--out", "photos"),
        ("bundle", "mine.onnx", *ASKED, "--out", "link"),
        ("bundle", "mine.onnx", *ASKED, "--out", "."),
        ("bundle", "mine.onnx", *ASKED, "--out", "photos/.."),
        ("bundle", "mine.onnx", *ASKED, "--out", "project"),
        ("bundle", "mine.onnx", *ASKED, "--out", "notes.txt"),
        (*VERIFY, "--out", "data.npz"),
        (*VERIFY, "--out", "notes.txt"),
        (*VERIFY, "--junit", "mine.onnx"),
        ("evaluate", "mine.onnx", *ASKED, "--out", "mine.onnx"),
        ("evaluate", "mine.onnx", *ASKED, "--out", "package.json"),
        ("bundle", "models/fp32.onnx", "--data", "models/samples.npz", "--eps", "8/255", "--out", "models"),
        (*VERIFY, "--out", "package.json"),
        (*VERIFY, "--out", "kept.json"),
        (*VERIFY, "--out", "signed.json"),
        (*VERIFY, "--junit", "logo.svg"),
        (*VERIFY, "--out", "empty.json"),
        (*VERIFY, "--out", "new.txt", "--junit", "./new.txt"),
        (*VERIFY, "--out", "new.json", "--junit", "new.json.sig"),
        (*VERIFY, "--out", "new.json", "--junit", "new.images.npz"),
        ("report", "photos", "--out", "notes.txt"),
        ("report", "photos"),
        ("report", "--compare", "a.json", "b.json"),
        ("report", "--compare", "a.json", "b.json", "--out", "data.npz"),
        ("distill", "--run", "photos"),
        ("distill", "--run", "notes.txt"),
    ],
    ids=" ".join,
)
def test_a_result_never_replaces_a_persons_own_file_or_folder(here, edgerkd, command):
    """Catches a bundle, a report or a page that takes the place of whatever is there, and an error that comes late."""
    before = _content(here)
    ended = edgerkd(*command)
    assert ended.code == 3, ended.err
    assert "error: " in ended.err
    assert "normalization" not in ended.err, "work was done before that was said"
    assert {name: content for name, content in _content(here).items() if name in before} == before


@pytest.mark.parametrize(
    "command",
    [
        ("distill", "--run", "{}"),
        ("bundle", "../mine.onnx", "--data", "../data.npz", "--eps", "8/255", "--out", "{}"),
        ("report", "../photos", "--vnnlib", "{}"),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("name", [".", "..", "/", "../..", ""])
def test_a_folder_without_a_name_is_one_clear_error(here, edgerkd, monkeypatch, command, name):
    """Catches a traceback for `.`, which an empty folder invites, and a working folder exchanged for another."""
    (here / "empty").mkdir()
    monkeypatch.chdir(here / "empty")
    ended = edgerkd(*(part.replace("{}", name) for part in command))
    assert ended.code == 3, ended.err
    assert "write the name of a" in ended.err
    assert "Traceback" not in ended.err


def test_a_folder_in_the_newest_runs_place_is_named_before_there_is_work(here, edgerkd):
    """Catches a teacher trained first, and a run's folder that every further try leaves behind."""
    (here / "runs" / "latest").mkdir(parents=True)
    ended = edgerkd("distill", "--epochs", "1")
    assert ended.code == 3
    assert "runs/latest is not a link but a folder or a file" in ended.err
    assert "digits" not in ended.err
    assert [path.name for path in (here / "runs").iterdir()] == ["latest"]


def test_results_are_replaced_by_newer_ones(here, edgerkd):
    """Catches a rule by which a command cannot be given twice, or an empty file made by mktemp not be filled."""
    (here / "found.json").touch()
    for _ in range(2):
        assert edgerkd(*VERIFY, "--out", "found.json", "--junit", "found.xml").code == 0
    made = edgerkd("bundle", "mine.onnx", *ASKED, "--attack", "fgsm", "--min-robust", "0.5")
    assert "in place of" not in made.out
    (here / "bundles" / "mine" / ".DS_Store").write_text("left by a desktop")
    again = edgerkd("bundle", "mine.onnx", *ASKED, "--attack", "fgsm", "--min-robust", "0.5")
    assert again.code == 0, again.err
    assert "bundle: bundles/mine, in place of the one that was there" in again.out
    (here / "bundles" / "mine" / "manifest.json").write_text("damaged")
    third = edgerkd("bundle", "mine.onnx", *ASKED, "--attack", "fgsm")
    assert third.code == 3, "what the folder holds is not known, so nothing there may be lost"


def test_a_bundle_does_not_replace_the_network_that_it_is_made_of(here, edgerkd):
    """Catches a bundle of a graph in an older bundle that takes its place while it is read."""
    made = ("bundle", "mine.onnx", *ASKED, "--attack", "fgsm", "--out", "first")
    assert edgerkd(*made).code == 0
    again = ("bundle", "first/fp32.onnx", *ASKED, "--attack", "fgsm", "--out", "first")
    ended = edgerkd(*again)
    assert ended.code == 3
    assert "first/fp32.onnx is in the folder that the bundle would replace" in ended.err


def test_what_looks_like_something_of_ours_beside_a_result_stays(here, edgerkd):
    """Catches a sweep for what killed commands leave that takes a person's own hidden files and folders."""
    for name in (".new.old", ".new-folder.part", ".found.json.old"):
        (here / name).mkdir()
        (here / name / "x").write_text("the only copy")
    (here / ".new-mybackup.part").write_text("the only copy")
    before = _content(here)
    for _ in range(2):
        assert edgerkd("bundle", "mine.onnx", *ASKED, "--attack", "fgsm", "--out", "new").code == 0
    assert edgerkd(*VERIFY, "--out", "found.json").code == 0
    assert {name: content for name, content in _content(here).items() if name in before} == before


def test_verifying_a_network_leaves_the_bundle_that_was_made_of_it(here, edgerkd):
    """Catches `verify mine.onnx` putting a bundle without gates in the place of one with them."""
    assert edgerkd("bundle", "mine.onnx", *ASKED, "--attack", "fgsm", "--min-robust", "0.5").code == 0
    made = read_bundle(here / "bundles" / "mine")
    assert edgerkd(*VERIFY).code == 0
    assert read_bundle(here / "bundles" / "mine").sha256 == made.sha256
    assert [path.name for path in (here / "verified").glob("*.json")]
