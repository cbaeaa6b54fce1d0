"""What it takes to add a method, an attack or a backend: one file and one line. Nothing else knows their names."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from edgerkd.attacks import suite
from edgerkd.distill.methods import registry
from edgerkd.distill.methods.registry import METHODS
from tests.foreign import bars_network, write_data
from tests.guide import blocks_of, saved_file

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("edgerkd", "exporters") for path in (REPOSITORY / room).rglob("*.py"))

PAGE = "add-your-own.md"
TOY_METHOD, TOY_ATTACK, BACKEND = (
    saved_file(PAGE, name) for name in ("edgerkd/distill/methods/toy.py", "edgerkd/attacks/toy.py", "plain_backend.py")
)

USE = """
import sys
from dataclasses import replace
from pathlib import Path

import torch

import edgerkd
from edgerkd.core.errors import ConfigError
from edgerkd.core.progress import Silent
from edgerkd.core.recipe import parse_settings
from edgerkd.core.run_record import RunRecord
from edgerkd.cli import main
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import load_method
from edgerkd.distill.trainer import train
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.models.store import load_network
from tests.runs import write_small_run
from tests.zoo import dataset

assert Path(edgerkd.__file__).is_relative_to(sys.path[0]), edgerkd.__file__
run = write_small_run(Path("run"))
record = decode_json(RunRecord, run.recipe)
method, settings = load_method("toy-method"), parse_settings(["weight_toy=0.25", "batch=16"])
recipe = recipe_for(method, record.recipe.threat_model, epochs=1, settings=settings)
run.recipe.write_text(encode_json(replace(record, recipe=recipe, method=method.facts)))
seen = []
train(load_network(run.student), dataset(n=96), recipe, teacher=None, checkpoint=None, resume=False,
      on_epoch=seen.append, progress=Silent())
print("terms:", *seen[0].terms)


def edgerkd(*arguments):
    sys.argv = ["edgerkd", *arguments]
    try:
        main.main()
    except SystemExit as e:
        print("code:", e.code or 0)


edgerkd("evaluate", "--run", "run", "--attack", "toy-attack", "-n", "12")
edgerkd("report", "--run", "run")
edgerkd("distill", "--list-methods")
edgerkd("evaluate", "--list-attacks")
edgerkd("distill", "--data", "bars.npz", "--eps", "8/255", "--method", "toy-method", "--set", "weight_toys=2")
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and what its tests need, to be added to."""
    for folder in ("edgerkd", "exporters", "profiles", "tests"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def add(copy: Path, folder: str, registry: str, text: str) -> None:
    """One file, and one line in the tuple FILES of a registry."""
    (copy / folder / "toy.py").write_text(text)
    path = copy / folder / registry
    content = path.read_text()
    assert content.count("FILES = (\n") == 1
    path.write_text(content.replace("FILES = (\n", 'FILES = (\n    "toy",\n'))


@pytest.mark.slow
def test_a_method_and_an_attack_are_one_file_and_one_line_each(copy: Path) -> None:
    """Catches a second place that must know a name: a list of the command line's, of the report's, of the core's."""
    add(copy, "edgerkd/distill/methods", "registry.py", TOY_METHOD)
    add(copy, "edgerkd/attacks", "suite.py", TOY_ATTACK)
    path = os.pathsep.join([str(copy), str(copy / "exporters")])
    program = f"import sys; sys.path[:0] = {path.split(os.pathsep)!r}\n{USE}"
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "terms: toy\n" in done.stdout
    assert done.stdout.count("code: 0") == 4, done.stdout + done.stderr
    assert "code: 3" in done.stdout
    assert "weight_toys: unknown key: did you mean weight_toy?" in done.stderr
    assert re.search(r"Toy, towards black +direct", done.stdout)
    for words in ("toy-method", "what a toy does, for a test", "weight_toy=1", "toy-attack", "darkens every image"):
        assert words in done.stdout
    stored = json.loads((copy / "run" / "run.json").read_text())
    assert stored["recipe"]["options"] == {"weight_toy": 0.25}
    assert json.loads((copy / "run" / "evaluation.json").read_text())["rows"][0]["attack"] == "toy-attack"
    page = (copy / "run" / "report.html").read_text()
    for words in ("What a toy does, for a test. Source: Toy et al. 1901, eq. 7.", "Toy, towards black", "weight_toy"):
        assert words in page


PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "plain-backend"
version = "1"

"""


def install_backend(folder: Path, site: Path) -> None:
    """The page's package laid out in `folder` and installed into `site`, with what is here and no network."""
    (declared,) = (block.text for block in blocks_of(PAGE) if block.kind == "toml")
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT + declared)
    (folder / "plain_backend.py").write_text(BACKEND)
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-compile")
    command = [sys.executable, "-m", "pip", "--isolated", "install", *offline, "--target", str(site), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_backend_is_one_file_and_one_entry_point(tmp_path: Path) -> None:
    """Catches a list of known backends, anywhere between the command line and the report, and a page with a gap.

    The package is installed as any other, and a network of one's own walks the whole road with it.
    """
    site = tmp_path / "site"
    install_backend(tmp_path / "package", site)
    path = os.pathsep.join([str(site), *sys.path])

    def edgerkd(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "edgerkd", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    found = {each["name"]: each for each in json.loads(edgerkd("doctor", "--json"))["backends"]}
    assert found["plain"] == {"name": "plain", "runs": None, "builds": None}
    (tmp_path / "mine.onnx").write_bytes(bars_network())
    write_data(tmp_path / "data.npz")
    own = ("--data", "data.npz", "--eps", "8/255", "--normalize", "none", "-n", "12")
    edgerkd("bundle", "mine.onnx", *own, "--format", "plain", "--precision", "fp32", "--attack", "fgsm")
    assert json.loads((tmp_path / "bundles/mine/manifest.json").read_text())["format"] == "plain"
    assert json.loads(edgerkd("build", "bundles/mine", "--backend", "plain", "--json"))["backend"] == "plain"
    (engine,) = tmp_path.glob("bundles/engines/*/plain/fp32/engine.onnx")
    built = engine.stat()
    assert "on plain " in edgerkd("verify", "bundles/mine", "--backend", "plain", "--attack", "fgsm", "--measure")
    assert (engine.stat().st_ino, engine.stat().st_mtime_ns) == (built.st_ino, built.st_mtime_ns), "built once more"
    (evidence,) = tmp_path.glob("bundles/verify-mine-*.json")
    report = json.loads(evidence.read_text())
    assert (report["engine"]["backend"], report["parity"]["ok"]) == ("plain", True)
    page = Path(edgerkd("report", "bundles/mine").strip())
    assert "on plain " in page.read_text()


_OWN_WORDS = {
    "edgerkd": "the package",
    "covariance": "what a loss term is about (edgerkd/report/words.py)",
}
"""Names that are words of their own as well, so that their places say nothing."""


def named_in(name: str) -> set[str]:
    """The files that name it: anywhere where it is unmistakable, else as a text of its own."""
    pattern = rf"(?<![\w-]){name}(?![\w-])" if "-" in name else rf"[\"']{name}[\"']"
    return {str(path.relative_to(REPOSITORY)) for path in SOURCES if re.search(pattern, path.read_text())}


@pytest.mark.parametrize("name", [name for name in METHODS if name not in _OWN_WORDS])
def test_a_methods_name_stands_in_its_own_file_and_the_registry_alone(name: str) -> None:
    """Catches a rule about one method in the trainer, a job, the report or the command line."""
    own = next(file for file in registry.FILES if import_module(f"edgerkd.distill.methods.{file}").METHOD.name == name)
    allowed = {f"edgerkd/distill/methods/{own}.py", "edgerkd/distill/methods/registry.py"}
    assert named_in(name) - allowed == set()


# `noise` is no attack but a control, and a word of its own.
@pytest.mark.parametrize("name", [*sorted(suite.ATTACKS.keys() - {"noise"}), "pgd-40-features"])
def test_an_attacks_id_stands_in_its_own_file_and_the_suite_alone(name: str) -> None:
    """Catches a rule about one attack in verify, a flag, the report or the command line."""
    own = next(
        file
        for file in suite.FILES
        if any(attack.id == name for attack in import_module(f"edgerkd.attacks.{file}").ATTACKS)
    )
    assert named_in(name) - {f"edgerkd/attacks/{own}.py", "edgerkd/attacks/suite.py"} == set()
