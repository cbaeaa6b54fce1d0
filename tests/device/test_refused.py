"""What a file of ours may not hold: one table for every record, field by field."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.core.flag import Flag
from edgerkd.core.manifest import Manifest
from edgerkd.core.profile import Profile
from edgerkd.core.run_record import RunRecord
from edgerkd.core.text import LONGEST_NAME, LONGEST_TEXT
from edgerkd.core.verification import Skipped, VerifyReport
from edgerkd.files.decode import decode_json, decode_toml, encode_json, with_settings
from tests.report import samples

GOOD: dict[type, dict[str, Any]] = {
    RunRecord: json.loads(encode_json(samples.RECORD)),
    VerifyReport: json.loads(encode_json(replace(samples.verification(), notices=(Flag(id="n", facts={}),)))),
    Profile: json.loads(encode_json(samples.PROFILE)),
}


def changed(cls: type, key: str, value: Any) -> dict[str, Any]:
    """The good record's JSON with one value replaced; `key` names it by dots."""
    data = json.loads(json.dumps(GOOD[cls]))
    *way, last = key.split(".")
    part = data
    for step in way:
        part = part[int(step)] if step.isdigit() else part[step]
    part[int(last) if last.isdigit() else last] = value
    return data


def refusal(cls: type, data: Any, path: Path) -> str:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(ArtefactError) as caught:
        decode_json(cls, path)
    return str(caught.value)


@pytest.mark.parametrize("cls", GOOD)
def test_the_records_of_these_tests_decode(cls, tmp_path):
    """Catches a table under which everything is refused."""
    (tmp_path / "x.json").write_text(json.dumps(GOOD[cls]))
    decode_json(cls, tmp_path / "x.json")


ODD_TEXTS = {
    "an escape sequence": "\x1b[2Jfalse",
    "a carriage return": "ok\rPASS",
    "a line feed": "ok\nPASS: every gate is met",
    "a bell": "\x07",
    "a null": "a\x00b",
    "a C1 control": "a\x9b31m",
    "a text turned round": "abc\u202edcba",
    "an isolate": "\u2066abc",
    "a zero-width character": "pa\u200bss",
    "a line separator": "a\u2028b",
    "half a surrogate pair": "\ud800",
}
"""Kinds of text that would deceive whoever reads it, or break what shows it."""

TEXT_FIELDS = [
    (RunRecord, "data.name"),
    (RunRecord, "data.classes.0"),
    (RunRecord, "profile.title"),
    (RunRecord, "teacher"),
    (RunRecord, "request.source"),
    (VerifyReport, "engine.device.name"),
    (VerifyReport, "build.fallback"),
    (VerifyReport, "skipped.0.problem"),
    (VerifyReport, "notices.0.id"),
    (VerifyReport, "by_class.classes.0.name"),
    (VerifyReport, "rows.0.attack"),
    (Profile, "device.soc"),
]


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
@pytest.mark.parametrize(("cls", "key"), TEXT_FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_no_text_of_a_file_reaches_a_terminal_as_it_is(cls, key, text, tmp_path):
    """Catches a field that is printed before anybody has looked at it, and a message that repeats the text."""
    said = refusal(cls, changed(cls, key, text), tmp_path / "x.json")
    assert key in said
    assert text not in said


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_no_key_does_either(text, tmp_path):
    """Catches an unknown key that is named as it is."""
    said = refusal(RunRecord, {**GOOD[RunRecord], "versions": {text: "1"}}, tmp_path / "x.json")
    assert text not in said
    assert text not in refusal(RunRecord, {**GOOD[RunRecord], text: 1}, tmp_path / "x.json")


@pytest.mark.parametrize(
    ("cls", "key", "value", "said"),
    [
        (RunRecord, "data.name", "x" * (LONGEST_NAME + 1), "data.name"),
        (RunRecord, "data.name", "", "data.name"),
        (VerifyReport, "skipped.0.problem", "x" * (LONGEST_TEXT + 1), "4,000 are allowed"),
        (RunRecord, "data.sha256", "d1" * 31, "data.sha256"),
        (RunRecord, "data.classes", ["only"], "data.classes"),
        (VerifyReport, "clean_acc.value", 1.2, "clean_acc.value"),
        (VerifyReport, "clean_acc.value", -0.1, "clean_acc.value"),
        (VerifyReport, "clean_acc.value", 0.1, "does not hold the value"),
        (VerifyReport, "clean_acc.n", -1, "clean_acc.n"),
        (VerifyReport, "clean_acc.n", 1.5, "clean_acc.n"),
        (VerifyReport, "twin_agreement", 2.0, "twin_agreement"),
        (VerifyReport, "latency_ms.p50", 0.0, "latency_ms.p50"),
        (VerifyReport, "seed", 10**400, "seed"),
        (VerifyReport, "verdict", "PASS", "verdict"),
        (RunRecord, "cost.params", 0, "cost.params"),
        (RunRecord, "cost.params", 2**60, "cost.params"),
        (RunRecord, "architecture.widths", [10**9, 8], "architecture.widths.0"),
        (RunRecord, "architecture.height", 10**9, "architecture.height"),
        (RunRecord, "architecture.std", [0.0], "architecture.std.0"),
        (RunRecord, "recipe.threat_model.eps", "1e-99999999", "recipe.threat_model.eps"),
        (RunRecord, "recipe.threat_model.eps", "9" * 400, "recipe.threat_model.eps"),
        (RunRecord, "recipe.threat_model.eps", 0.03, "recipe.threat_model.eps"),
        (RunRecord, "recipe.lr", -1.0, "recipe.lr"),
        (RunRecord, "recipe.batch", True, "recipe.batch"),
        (Profile, "budget.params", 0, "budget.params"),
        (Profile, "budget.macs", -1, "budget.macs"),
        (Profile, "budget.latency_ms", 0.0, "budget.latency_ms"),
        (Profile, "budget.teacher_share", -0.1, "budget.teacher_share"),
        (Profile, "budget.file", "4", "budget.file"),
        (Profile, "budget.file", "9" * 400 + " B", "budget.file"),
        (Profile, "device.memory", "lots", "device.memory"),
        (Profile, "device.sms", 0, "device.sms"),
        (Profile, "backends", [], "backends"),
        *((Profile, f"gates.{gate}", value, f"gates.{gate}")
          for gate in ("clean_acc_of_teacher", "robust_acc_of_teacher", "retention")
          for value in (-0.01, 1.01, 95.0)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:30]),
)  # fmt: skip
def test_a_value_out_of_its_range_is_refused_with_its_key(cls, key, value, said, tmp_path):
    """Catches a number that no device has, a share above one, and arithmetic on a number of millions of digits."""
    refused = refusal(cls, changed(cls, key, value), tmp_path / "x.json")
    assert said in refused
    assert len(refused) < 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("\x00", "not valid JSON"),
        ("null", "x.json"),
        ("[1]", "x.json"),
        ('"text"', "x.json"),
        ('{"schema": 1, "seed": NaN}', "NaN is not a JSON number"),
        ('{"schema": 1, "seed": Infinity}', "Infinity is not a JSON number"),
        ('{"schema": 1, "seed": -Infinity}', "-Infinity is not a JSON number"),
        ('{"schema": 1, "seed": 1e999}', "seed"),
        ('{"schema": 1, "seed": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"schema": 1, "seed": ' + "[" * 500 + "]" * 500 + "}", "nested"),
        ("[" * 100_000 + "]" * 100_000, "not valid JSON"),
        ('{"schema": 1, "a": ' * 100_000, "not valid JSON"),
        ("\ufeff{}", "x.json"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_record_is_a_damaged_file(text, said, tmp_path):
    """Catches a parser's own error, an endless recursion, and a number that JSON does not have."""
    assert said in refusal(VerifyReport, text, tmp_path / "x.json")


@pytest.mark.parametrize("cls", GOOD)
@pytest.mark.parametrize(("schema", "said"), [(2, "of schema 2"), (None, "no schema number"), ("1", "of schema '1'"),
                                              (True, "of schema True"), (10**50, "of schema 1")])  # fmt: skip
def test_another_schema_is_refused_before_anything_else(cls, schema, said, tmp_path):
    """Catches a file of another edgerkd read as far as it goes."""
    data = {**GOOD[cls], "schema": schema, "unknown": 1}
    if schema is None:
        del data["schema"]
    refused = refusal(cls, data, tmp_path / "x.json")
    assert said in refused
    assert "reads schema 1" in refused
    assert "unknown" not in refused


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"norm = ", "not valid TOML"),
        (b"schema = 1\nname = 'a'\nname = 'b'", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b'schema = 1\nname = "a\\u001bb"', "deceive"),
        (b"a = " + b"[" * 3000, "not valid TOML"),
        (b"schema = 1\n[budget]\nlatency_ms = inf", "budget.latency_ms"),
        (b"schema = 1\n[budget]\nparams = " + b"9" * 5000, "not valid TOML"),
        (b"schema = 7", "of schema 7"),
        (b"title = 'x'", "no schema number"),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_toml_is_held_to_the_same(content, said, tmp_path):
    """Catches a rule that holds for our files alone."""
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"p\.toml") as caught:
        decode_toml(Profile, path)
    assert said in str(caught.value)


def test_a_setting_is_held_to_the_same():
    """Catches --set that goes round the ranges."""
    with pytest.raises(ConfigError, match="lr"):
        with_settings(samples.RECORD.recipe, {"lr": -1}, "--set")


def test_what_is_written_can_be_read(tmp_path):
    """Catches an error's own words, of several lines and with escapes, that make a report unreadable afterwards."""
    report = samples.verification()
    noisy = replace(
        report, skipped=(Skipped(backend="a", problem="a\nb\x1b[1m"), Skipped(backend="b", problem="x" * 9000))
    )
    (tmp_path / "x.json").write_text(encode_json(noisy))
    again = decode_json(VerifyReport, tmp_path / "x.json")
    assert again.skipped[0].problem == r"a\nb\x1b[1m"
    assert again.skipped[1].problem.startswith("x" * 3900)


def test_a_file_beyond_its_limit_is_refused_unread(tmp_path, monkeypatch):
    """Catches gigabytes read before anything is decided."""
    monkeypatch.setattr("edgerkd.files.decode.TEXT_LIMIT", 100)
    assert "at most 100 B are expected" in refusal(Manifest, "x" * 101, tmp_path / "x.json")
