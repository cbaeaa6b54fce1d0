"""`edgerkd profiles`, through the real command line."""

import json

import pytest

from edgerkd.files.profiles import profile_names

GOOD = """
schema = 1
name = "mine"
title = "My board"
backends = ["onnx"]
[device]
soc = "an SoC"
[budget]
params = 1000
file = "1 MiB"
[gates]
clean_acc_of_teacher = 0.9
robust_acc_of_teacher = 0.8
retention = 0.95
"""


def written(folder, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_bare_profiles_lists_every_profile(edgerkd):
    """Catches a list that is not the default, or that loses one."""
    code, out, err = edgerkd("profiles")
    assert (code, err) == (0, "")
    assert all(name in out for name in profile_names())
    assert edgerkd("profiles", "list")[1] == out


def test_list_as_json(edgerkd):
    """Catches a table on stdout beside the document."""
    code, out, _ = edgerkd("profiles", "--json")
    assert code == 0
    assert [profile["name"] for profile in json.loads(out)["profiles"]] == profile_names()


def test_show_gives_each_number_with_its_source(edgerkd, monkeypatch):
    """Catches values without sources, and a budget's reason that is not shown."""
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = edgerkd("profiles", "show", "jetson-orin")
    assert code == 0
    line = next(line for line in out.splitlines() if "device.int8_tops" in line)
    assert "85.2" in line
    assert "4096" in line
    assert "\nbudget: ours: " in out
    assert json.loads(edgerkd("profiles", "show", "jetson-orin", "--json")[1])["device"]["sms"] == 16


def test_check_says_ok(edgerkd, tmp_path):
    """Catches a check that says nothing, or refuses a profile without optional keys."""
    assert edgerkd("profiles", "check", written(tmp_path, GOOD)) == (0, "ok\n", "")


def test_an_unknown_name_suggests_the_nearest(edgerkd):
    """Catches a bare `not found`."""
    code, out, err = edgerkd("profiles", "show", "jetson-orn")
    assert (code, out) == (3, "")
    assert "did you mean 'jetson-orin'?" in err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("params = 1000", "parms = 1000", ["budget.parms", "did you mean params?"]),
        ('"1 MiB"', '"1 MebiB"', ["budget", "'1 MebiB'", "MiB"]),
        ("schema = 1", "schema = ", ["not valid TOML", "line 2"]),
        ("params = 1000", 'params = "many"', ["budget.params", "'many'"]),
        ("params = 1000", "params = -1", ["budget", "-1"]),
        ("retention = 0.95", "", ["gates.retention", "missing"]),
        ("retention = 0.95", "retention = 95", ["gates", "95"]),
        ("schema = 1", "schema = 2", ["of schema 2", "reads schema 1"]),
        ('name = "mine"', 'name = "yours"', ["name", "'yours'", "'mine'"]),
        ('["onnx"]', "[]", ["backends", "at least 1 entries are needed"]),
        ('soc = "an SoC"', 'soc = "an SoC"\nmemory = "4 G"', ["device.memory", "'4 G'"]),
    ],
)
def test_bad_input_names_file_key_and_fix(edgerkd, tmp_path, old, new, words):
    """Catches each kind of mistake that is let through, or reported without where it is."""
    path = written(tmp_path, GOOD.replace(old, new))
    for arguments in (("check", path), ("show", path, "--json")):
        code, out, err = edgerkd("profiles", *arguments)
        assert (code, out) == (3, "")
        for word in ("error: ", path, *words):
            assert word in err


def test_all_problems_are_named_at_once(edgerkd, tmp_path):
    """Catches a check that stops at the first problem."""
    text = GOOD.replace("params = 1000", 'params = "many"').replace("soc", "sic")
    err = edgerkd("profiles", "check", written(tmp_path, text))[2]
    assert all(word in err for word in ("budget.params", "device.soc", "device.sic"))


def test_a_missing_file_is_bad_input(edgerkd, tmp_path):
    """Catches a traceback for a path that is not there."""
    code, _, err = edgerkd("profiles", "check", str(tmp_path / "none.toml"))
    assert code == 3
    assert "none.toml" in err


@pytest.mark.parametrize("arguments", [("show",), ("check",), ("list", "jetson-orin"), ("print",)])
def test_wrong_usage_exits_2(edgerkd, arguments):
    """Catches an argument that is silently ignored or silently needed."""
    assert edgerkd("profiles", *arguments)[0] == 2
