"""`edgerkd teacher`, as it is typed."""

import hashlib
import json

import pytest
import torch

from tests.zoo import network


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGERKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["import"], 2, "Missing argument 'SOURCE'"),
        (["train", "w.pt"], 2, "(w.pt)"),
        (["import", "w.pt", "--method", "pgd-at"], 2, "--method"),
        (["import", "w.pt", "--minutes", "5"], 2, "--minutes"),
        (["train", "--minutes", "0"], 2, "--minutes"),
        (["train", "--minutes", "nan"], 2, "--minutes"),
        (["train", "--minutes", "5", "--epochs", "2"], 3, "--minutes: "),
        (["list", "--name", "mine"], 2, "--name"),
        (["train", "-n", "5"], 2, "-n"),
        (["train", "--eps", "0"], 3, "--eps 0"),
        (["import", "https://[x", "--sha256", "0" * 64], 3, "not a web address"),
        (["import", "https://example.invalid/\u00e4.pt", "--sha256", "0" * 64], 3, "not a web address"),
        (["train", "--method", "rslad"], 3, "known:\n  - pgd-at: adversarial training"),
        (["import", "gone.pt"], 3, "there is no such file"),
        (["import", "https://example.invalid/w.pt"], 3, "--sha256"),
        (["import", "robustbench:Wong2020Fast"], 4, "load_model('Wong2020Fast'"),
    ],
)
def test_each_mistake_ends_with_its_own_code(edgerkd, arguments, code, words):
    """Catches a traceback, another exit code than the design's, and a message without the fix."""
    ended = edgerkd("teacher", *arguments)
    assert ended.code == code
    assert words in ended.err


def test_an_import_prints_clean_and_robust_accuracy_of_the_sample_asked_for(edgerkd, tmp_path):
    """Catches -n, --sha256 and --name that go nowhere."""
    net = network(family="preactresnet")
    torch.save(net.state_dict(), tmp_path / "w.pt")
    digest = hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    given = ("teacher", "import", "w.pt", "--accept-fragile", "-n", "20", "--name", "mine", "--json")
    ended = edgerkd(*given, "--sha256", digest)
    assert ended.code == 0, ended.err
    (card,) = json.loads(ended.out)["teachers"]
    assert (card["name"], card["n"], card["clean_acc"]["n"]) == ("mine", 20, 20)
    assert edgerkd(*given, "--sha256", "0" * 64).code == 5
