"""`edgerkd verify BUNDLE --data`, `--eps`, `--profile FILE` and `--no-attack`, as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.foreign import bars_network
from tests.graph_bundles import CLASSES, bars, honest, write_graph_bundle


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with a bundle and own.npz in it."""
    monkeypatch.chdir(tmp_path)
    write_graph_bundle(tmp_path / "bundle", honest(), *bars(40, seed=0))
    pixels, labels = bars(50, seed=1)
    np.savez(tmp_path / "own.npz", x_test=pixels[:, 0], y_test=labels, class_names=np.asarray(CLASSES))
    return tmp_path


OWN = ("verify", "bundle", "--data", "own.npz", "--backend", "onnx")
ASKED = ("--min-robust", "0.5", "--min-clean", "0.5")


@pytest.mark.slow
def test_own_samples_make_a_verdict(here, edgerkd):
    """Catches --data that is read and not used, and a number of images that is not kept to."""
    ended = edgerkd(*OWN, *ASKED, "-n", "30", "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert (report["samples"]["source"], report["samples"]["n"], report["samples"]["of"]) == ("verifier", 30, 50)
    assert report["clean_acc"]["n"] == report["robust_acc"]["n"] == 30
    again = json.loads(edgerkd(*OWN, *ASKED, "-n", "30", "--json").out)
    assert again["samples"]["seed"] != report["samples"]["seed"], "a bundle's maker could foresee the images"
    assert again["samples"]["sha256"] != report["samples"]["sha256"]


def test_the_plain_answer_comes_first_and_alone_where_it_is_asked(here, edgerkd):
    """Catches a plain question that is answered after minutes of attacks, and attacks that nobody asked for."""
    alone = edgerkd(*OWN, "--no-attack")
    assert alone.code == 0, alone.err
    assert "accuracy of the engine: 100.0%" in alone.err
    assert alone.out.startswith("accuracy of the engine: 100.0%")
    assert "MEASURED on onnx" in alone.out
    assert "PGD" not in alone.out
    report = json.loads(edgerkd("verify", "bundle", "--no-attack", "--json").out)
    assert (report["verdict"], report["rows"], report["gates"]) == ("measured", [], [])


def test_a_smaller_radius_is_said_to_be_one(here, edgerkd):
    """Catches a pass at a radius of one step that reads like a pass at the bundle's."""
    ended = edgerkd(*OWN, *ASKED, "--eps", "1/255")
    assert ended.code == 0, ended.err
    assert "attacks: Linf 1/255" in ended.out
    assert "the radius 1/255 is below the bundle's 16/255" in ended.out


def test_a_model_of_fixed_batches_is_asked_in_its_own(here, edgerkd):
    """Catches own samples that an engine for one image at a time refuses, or answers for the first image alone."""
    (here / "fixed.onnx").write_bytes(bars_network(softmax=False))
    pixels, labels = bars(40, seed=2)
    np.savez(here / "theirs.npz", x_test=pixels[:, 0].transpose(0, 2, 1), y_test=labels)
    made = edgerkd(
        "bundle", "fixed.onnx", "--engine", "fixed.onnx", "--format", "onnx", "--data", "theirs.npz", "--eps", "8/255",
        "--normalize", "none", "--out", "fixed",
    )  # fmt: skip
    assert made.code == 0, made.err
    np.savez(here / "mine.npz", x_test=bars(50, seed=1)[0][:, 0].transpose(0, 2, 1), y_test=bars(50, seed=1)[1])
    ended = edgerkd("verify", "fixed", "--data", "mine.npz", "-n", "23", "--no-attack", "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert (report["clean_acc"]["value"], report["clean_acc"]["n"]) == (1.0, 23)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--data", "own.npz", "--no-attack", "--attack", "apgd"), 2, "--no-attack makes none"),
        (("--data", "own.npz", "--no-attack", "--min-robust", "0.5"), 2, "--no-attack makes none"),
        (("--no-attack", "--min-clean", "0.5"), 2, "--no-attack makes none"),
        (("--no-attack", "--full"), 2, "--no-attack makes none"),
        (("--measure", "--min-robust", "0.5"), 2, "--measure makes none"),
        (("--measure", "--min-clean", "0.5"), 2, "--measure makes none"),
        (("--from", "net:network"), 2, "edgerkd bundle --from"),
        (("-n", "5"), 2, "is about images of your own: name them with --data"),
        (("--skip-bad",), 2, "is about images of your own"),
        (("--data", "own.npz", "--size", "8"), 2, "a bundle has it already"),
        (("--data", "own.npz", "--norm", "L2"), 2, "a bundle has it already"),
        (("--data", "own.npz", "--eps", "0"), 3, "nothing is attacked within a radius of 0"),
        (("--data", "own.npz", "--eps", "8"), 3, "write 8/255, not 8"),
        (("--data", "own.npz", "--eps", "8/255", "--min-clean", "0.5"), 2, "give --min-robust"),
        (("--data", "nothing.npz", "--measure"), 3, "nothing.npz"),
        (("--data", "nothing", "--measure"), 3, "There is no data set"),
        (("--profile", "nothing.toml", "--measure"), 3, "nothing.toml"),
        (("--profile", "./bad.toml", "--measure"), 3, "bad.toml"),
        (("--data", "seen.npz", "--measure"), 3, "within the radius 16/255 of images in the bundle"),
        (("--data", "one.npz", "--measure"), 3, "one class only"),
        (("--data", "other.npz", "--measure"), 3, "has no class named up"),
        (("--data", "wide.npz", "--measure"), 3, "its images are 9x8 grey"),
        (("--data", "empty", "--measure"), 3, "it has no folders"),
    ],
)
def test_bad_input_is_one_clear_error(here, edgerkd, arguments, code, message):
    """Catches a traceback, another exit code, and an engine that is attacked on nonsense."""
    pixels, labels = bars(40, seed=0)
    np.savez(here / "seen.npz", x_test=pixels[:, 0], y_test=labels)
    np.savez(here / "one.npz", x_test=pixels[labels == 0][:, 0], y_test=labels[labels == 0])
    np.savez(here / "other.npz", x_test=pixels[:, 0], y_test=labels, class_names=np.asarray(["left", "up", "right"]))
    np.savez(here / "wide.npz", x_test=np.pad(pixels[:, 0], ((0, 0), (0, 0), (0, 1))), y_test=labels)
    (here / "empty").mkdir()
    (here / "bad.toml").write_text('name = "bad"\n')
    ended = edgerkd("verify", "bundle", "--backend", "onnx", *arguments)
    assert ended.code == code, ended.err
    assert message in " ".join(ended.err.replace("│", " ").split())
    assert "Traceback" not in ended.err
    assert not list(here.glob("verify-*.json"))
