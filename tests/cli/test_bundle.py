"""A network of one's own, from a file to a verdict."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgerkd.bundle.read import read_bundle
from edgerkd.core.verification import VerifyReport
from edgerkd.files.atomic import claimed_place
from edgerkd.files.decode import decode_json
from edgerkd.verify import isolated
from tests.foreign import bars, bars_network, bytes_network, endless_network, write_data


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with mine.onnx and data.npz in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.onnx").write_bytes(bars_network())
    write_data(tmp_path / "data.npz")
    return tmp_path


ASKED = ("--data", "data.npz", "--eps", "8/255", "--normalize", "none")


def test_a_file_becomes_a_bundle_and_that_a_verdict(here, edgerkd):
    """Catches a road that ends anywhere, and a bundle that forgets what was asked of it."""
    made = edgerkd("bundle", "mine.onnx", *ASKED, "--min-robust", "0.5", "--min-clean", "0.8", "-n", "40")
    assert made.code == 0, made.err
    understood = ("40 of 60 images", "data: 0 (13), 1 (13), 2 (14)", "Linf 8/255 (as given)")
    for words in ("softmax, removed", "fixed at 1, was made dynamic", *understood):
        assert words in made.err
    manifest = read_bundle(here / "bundles" / "mine").manifest
    assert manifest.model.architecture is None
    assert manifest.model.adoption is not None
    assert manifest.model.classes == ("0", "1", "2")
    assert manifest.requirement is not None
    assert (manifest.requirement.min_clean_acc, manifest.requirement.min_robust_acc) == (0.8, 0.5)
    assert manifest.reference is not None
    assert manifest.reference.clean_acc.value == 1.0
    ended = edgerkd("verify", "bundles/mine", "--json")
    report = json.loads(ended.out)
    assert (ended.code, report["verdict"]) == (0, "pass"), ended.err
    assert [row["attack"] for row in report["rows"]] == ["noise", "replay", "apgd-ce", "apgd-t3", "square:500"]
    assert [gate["gate"] for gate in report["gates"]] == ["clean_acc", "robust_acc"]
    (evidence,) = (here / "bundles").glob("verify-mine-*.json")
    assert decode_json(VerifyReport, evidence).verdict == "pass"


@pytest.mark.slow
def test_a_bare_graph_is_verified_on_the_spot(here, edgerkd):
    """Catches a second command for what one can do, and a radius that goes nowhere."""
    small = edgerkd("verify", "mine.onnx", *ASKED, "--min-robust", "0.5")
    assert small.code == 0, small.err
    large = edgerkd(
        "verify", "mine.onnx", "--data", "data.npz", "--eps", "0.5", "--normalize", "none", "--min-robust", "0.5"
    )
    assert large.code == 7  # so large that the images of a class are in reach of each other, and count once
    assert "too near to another one to count" in large.out
    assert "0.0% [0.0%" in large.out


@pytest.mark.slow
def test_figures_alone_are_no_verdict(here, edgerkd):
    """Catches a pass where nothing was required, and a threshold that is invented."""
    asked = edgerkd("verify", "mine.onnx", *ASKED)
    assert asked.code == 2
    assert "--min-robust" in asked.err
    assert "--measure" in asked.err
    assert not (here / "verified").exists(), "work was done before anybody said what for"
    measured = edgerkd("verify", "mine.onnx", *ASKED, "--measure", "--json")
    assert measured.code == 0
    assert json.loads(measured.out)["verdict"] == "measured"


def test_what_is_not_said_is_found_by_measuring(here, edgerkd):
    """Catches a network that is attacked on images which it reads wrong, and a choice that nobody hears of."""
    made = edgerkd("bundle", "mine.onnx", "--data", "data.npz", "--eps", "8/255")
    assert made.code == 0, made.err
    assert "normalization found by accuracy on 60 images" in made.err
    found = read_bundle(here / "bundles" / "mine").manifest
    assert found.reference is not None
    assert found.reference.clean_acc.value == 1.0


@pytest.mark.parametrize(("turned", "warned"), [(1, True), (0, False)])
def test_a_network_whose_classes_come_in_another_order_is_warned_of(here, edgerkd, turned, warned):
    """Catches a normalization that is found at chance, and a signed bundle of it without a word."""
    data = dict(np.load(here / "data.npz"))
    np.savez(here / "turned.npz", **{k: (v + turned) % 3 if k.startswith("y") else v for k, v in data.items()})
    made = edgerkd("bundle", "mine.onnx", "--data", "turned.npz", "--eps", "8/255", "--attack", "pgd", "-n", "20")
    assert ("look at the order of the classes" in made.err) is warned, made.err


def test_no_torch_is_needed_for_a_graph(here):
    """Catches an import that a device cannot make: a graph needs onnx, and torch never."""
    code = (
        "import sys\nfor name in ('torch', 'torchvision', 'sklearn', 'safetensors'): sys.modules[name] = None\n"
        f"sys.argv = ['edgerkd', 'verify', 'mine.onnx', *{ASKED!r}, '--min-robust', '0.5']\n"
        "from edgerkd.cli.main import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _labels(*, highest: int) -> dict[str, np.ndarray]:
    images, labels = bars()
    return {"x_test": images, "y_test": np.where(labels == 0, highest, labels)}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("mine.onnx",), 2, "which labelled images"),
        (("absent.onnx", *ASKED), 3, "absent.onnx: there is no such file"),
        ((".", *ASKED), 3, "this is a folder, and a bundle is made of a network"),
        (("mine", *ASKED), 3, "'mine' names no network"),
        ((*ASKED,), 3, "No model is named"),
        (("mine.onnx", "--data", "beyond.npz", "--eps", "8/255"), 3, "it has 3 outputs, and the labels reach 5"),
        (("mine.onnx", "--data", "data.npz"), 3, "no customary radius for grey images"),
        (("mine.onnx", *ASKED, "--eps", "0"), 3, "nothing is attacked within a radius of 0"),
        (("mine.onnx", *ASKED, "--norm", "L3"), 3, "There is no norm named 'L3'"),
        (("mine.onnx", *ASKED, "--mean", "0.5"), 2, "--mean and --std go together"),
        (("mine.onnx", "--data", "data.npz", "--mean", "a", "--std", "1"), 2, "no list of numbers"),
        (("mine.onnx", *ASKED, "--std", "1", "--mean", "0"), 2, "give --normalize, or --mean and --std"),
        (("mine.onnx", *ASKED, "--channels", "gbr"), 2, "none of rgb, bgr"),
        (("mine.onnx", *ASKED, "--output", "nothing"), 3, "nothing"),
        (("mine.onnx", *ASKED, "--format", "tensorflow"), 3, "There is no backend named 'tensorflow'"),
        (("mine.onnx", *ASKED, "--attack", "pgdd"), 3, "There is no attack named 'pgdd'"),
        (("mine.onnx", *ASKED, "--profile", "jetson"), 3, "There is no profile named 'jetson'"),
        (("mine.onnx", *ASKED, "--calibration", "data.npz"), 3, "without --profile no device is known to be faster"),
        (("mine.onnx", *ASKED, "--precision", "fp32", "--calibration", "data.npz"), 3, "so nothing is rounded"),
        (("mine.onnx", *ASKED, "--precision", "int8", "--calibration", "gone"), 3, "gone: --calibration: there is no"),
        (("mine.onnx", *ASKED, "--precision", "int8", "--format", "onnx-cuda"), 3, "runs no int8 graph"),
        (("mine.onnx", *ASKED, "--weights", "data.npz"), 3, "mine.onnx holds its weights itself"),
        (("mine.onnx", *ASKED, "--no-flip"), 2, "nothing is trained here"),
        (("text.onnx", *ASKED), 5, "text.onnx"),
        (("other.onnx", *ASKED), 3, "16x16"),
        (("mine.onnx", *ASKED, "--engine", "absent.plan"), 3, "absent.plan"),
        (("absent.module:make", *ASKED), 3, "absent.module:make"),
    ],
)
def test_bad_input_is_one_clear_error(here, edgerkd, arguments, code, message):
    """Catches a traceback, another exit code, and a message that does not say how to fix it."""
    write_data(here / "beyond.npz", **_labels(highest=5))
    (here / "text.onnx").write_text("this is no graph")
    (here / "other.onnx").write_bytes(bars_network())
    if "16x16" in message:
        images, labels = bars()
        write_data(here / "data.npz", x_test=images.repeat(2, 1).repeat(2, 2), y_test=labels)
        arguments = (*arguments, "--no-resize")
    ended = edgerkd("bundle", *arguments)
    assert ended.code == code, ended.err
    assert message in " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert not (here / "bundles").exists()


def test_two_bundles_into_one_folder_are_one_clear_error(here, edgerkd):
    """Catches a bundle that another process quietly replaces while it is made."""
    with claimed_place(here / "bundles" / "mine") as alone:
        assert alone
        ended = edgerkd("bundle", "mine.onnx", *ASKED)
    assert ended.code == 3
    assert "bundles/mine: another process makes this bundle" in ended.err
    assert edgerkd("bundle", "mine.onnx", *ASKED, "--attack", "fgsm").code == 0
    assert [path.name for path in (here / "bundles").iterdir()] == ["mine"]


@pytest.mark.parametrize("flags", [("--normalize", "none"), ()])
def test_a_graph_that_never_ends_is_stopped(here, edgerkd, monkeypatch, flags):
    """Catches a small file of much work that is first run in this process, where nothing can stop it."""
    monkeypatch.setattr(isolated, "SECONDS", 0.5)
    (here / "endless.onnx").write_bytes(endless_network())
    ended = edgerkd("bundle", "endless.onnx", "--data", "data.npz", "--eps", "8/255", *flags)
    assert ended.code == 3, ended.err
    assert "error: endless.onnx: " in ended.err
    assert "it was stopped" in ended.err


def test_what_is_about_a_network_is_refused_for_a_bundle(here, edgerkd):
    """Catches a normalization or an output that a finished bundle quietly ignores."""
    assert edgerkd("bundle", "mine.onnx", *ASKED, "--min-robust", "0.5").code == 0
    for flags in (("--norm", "L2"), ("--data", "data.npz", "--size", "8"), ("--output", "x")):
        ended = edgerkd("verify", "bundles/mine", *flags)
        assert ended.code == 2, ended.out
        assert "a bundle has it already" in ended.err


def test_a_set_for_a_judge_needs_no_training_images_and_a_folder_is_used_whole(here, edgerkd):
    """Catches x_train asked of a user who only judges, and a fifth of their images taken for all."""
    from PIL import Image

    images, labels = bars()
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = here / "pictures" / f"bar {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{row}.png")
    ended = edgerkd("bundle", "mine.onnx", "--data", "pictures/", "--eps", "8/255", "--normalize", "none")
    assert ended.code == 0, ended.err
    manifest = read_bundle(here / "bundles" / "mine").manifest
    assert manifest.model.classes == ("bar 0", "bar 1", "bar 2")
    assert manifest.reference is not None
    assert manifest.reference.clean_acc.n == 60


@pytest.mark.slow
def test_an_engine_built_elsewhere_is_attacked_as_it_is(here, edgerkd):
    """Catches an engine of the user's own that is built anew, or held against logits that it never gives."""
    (here / "engine.onnx").write_bytes(bars_network())  # it ends in a softmax, takes one image at a time
    made = edgerkd("bundle", "mine.onnx", *ASKED, "--engine", "engine.onnx", "--format", "onnx", "--min-robust", "0.5")
    assert made.code == 0, made.err
    bundle = read_bundle(here / "bundles" / "mine")
    (variant,) = bundle.manifest.variants
    assert (variant.name, variant.backend) == ("fp32-onnx", "onnx")
    assert (bundle.path / (variant.engine or "")).read_bytes() == (here / "engine.onnx").read_bytes()
    ended = edgerkd("verify", "bundles/mine", "--json")
    report = json.loads(ended.out)
    assert (ended.code, report["verdict"]) == (0, "pass"), ended.err
    assert report["engine"]["sha256"] == bundle.manifest.files[variant.engine or ""].sha256
    assert report["parity"]["ok"]
    assert report["gradients"]["ok"]
    built = [path.name for path in (here / "bundles" / "engines").rglob("*.onnx")]
    assert built == ["twin.onnx"]


@pytest.mark.slow
def test_another_networks_engine_fails_parity(here, edgerkd):
    """Catches an engine that is judged by the graph it was said to come from."""
    weights = bars_network(softmax=False)
    (here / "engine.onnx").write_bytes(weights)
    assert (
        edgerkd(
            "bundle", "mine.onnx", *ASKED, "--engine", "engine.onnx", "--format", "onnx", "--min-robust", "0.5"
        ).code
        == 0
    )
    ended = edgerkd("verify", "bundles/mine")
    assert ended.code in (5, 6), ended.out
    assert "PASS" not in ended.out


def test_a_file_that_is_no_onnx_says_how_to_go_on(here, edgerkd):
    """Catches a torch file called a bundle, or refused with a reason that is not so."""
    (here / "mine.pt2").write_bytes(b"PK")
    ended = edgerkd("verify", "mine.pt2", *ASKED)
    assert ended.code == 3
    assert "`edgerkd bundle`" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_network_of_whole_pixels_is_verified(here, edgerkd, layout):
    """Catches normalizations measured where there are none, and slopes looked for below one step of a pixel."""
    (here / "bytes.onnx").write_bytes(bytes_network(layout))
    ended = edgerkd("verify", "bytes.onnx", "--data", "data.npz", "--eps", "8/255", "--min-robust", "0.5", "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["clean_acc"]["value"] == 1.0
    assert report["gradients"]["ok"]
