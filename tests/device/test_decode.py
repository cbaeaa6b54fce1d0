"""Files in and out: nothing half read, every problem named."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerkd.core.accuracy import Accuracy
from edgerkd.core.architecture import Architecture
from edgerkd.core.curve import CurveReport
from edgerkd.core.errors import ArtefactError, ConfigError
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.manifest import Manifest
from edgerkd.core.profile import Device, Profile
from edgerkd.core.recipe import Recipe
from edgerkd.core.run_record import RunRecord
from edgerkd.core.teacher import TeacherCard
from edgerkd.core.threat import ThreatModel
from edgerkd.core.variance_gap import VarianceGapReport
from edgerkd.core.verification import VerifyReport
from edgerkd.files.decode import decode_json, decode_toml, encode_json
from tests.strategies import records

DOMAIN = [
    *(Accuracy, Architecture, CurveReport, Device, Evaluation, Manifest, Profile, Recipe, RunRecord, TeacherCard),
    *(ThreatModel, VarianceGapReport, VerifyReport),
]


SLOW = (Manifest, VerifyReport)


@pytest.mark.parametrize("cls", [pytest.param(each, marks=pytest.mark.slow if each in SLOW else ()) for each in DOMAIN])
@settings(max_examples=40)
@given(data=st.data())
def test_decoding_reads_what_encoding_writes(cls, data, tmp_path_factory):
    """Catches a field that is dropped, rounded or changed in type on its way through a file."""
    value = data.draw(records(cls))
    path = tmp_path_factory.getbasetemp() / f"{cls.__name__}.json"
    path.write_text(encode_json(value), encoding="utf-8")
    assert decode_json(cls, path) == value


def profile_data() -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "mine",
        "title": "Mine",
        "backends": ["onnx"],
        "device": {"soc": "x", "sms": 4},
        "budget": {"params": 10},
        "gates": {"clean_acc_of_teacher": 0.9, "robust_acc_of_teacher": 0.8, "retention": 0.95},
    }


def paths(data: dict[str, Any]) -> list[tuple[str, ...]]:
    """Where every key of the data lies."""
    found: list[tuple[str, ...]] = []
    for key, value in data.items():
        found += [(key,)] + ([(key, *rest) for rest in paths(value)] if isinstance(value, dict) else [])
    return found


OPTIONAL = {("device", "sms"), ("budget", "params")}
KEYS = paths(profile_data())


def changed(path: tuple[str, ...], **new: Any) -> str:
    """The profile as JSON, where the key at `path` is replaced by the keys `new`."""
    data = profile_data()
    part = data
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    part.update(new)
    return json.dumps(data)


def problem_of(text: str, path) -> str:
    path.write_text(text)
    with pytest.raises(ArtefactError) as caught:
        decode_json(Profile, path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_data_of_these_tests_decode(tmp_path):
    """Catches tests that pass because everything is refused."""
    path = tmp_path / "p.json"
    path.write_text(json.dumps(profile_data()))
    assert decode_json(Profile, path).device == Device(soc="x", sms=4)


@pytest.mark.parametrize("key", KEYS, ids=".".join)
def test_a_wrong_type_is_refused_with_its_key(key, tmp_path):
    """Catches a silent conversion, such as "4" read as 4 or 1 as true."""
    assert ".".join(key) in problem_of(changed(key, **{key[-1]: [{}]}), tmp_path / "p.json")


@pytest.mark.parametrize("key", [key for key in KEYS if key not in OPTIONAL and key != ("schema",)], ids=".".join)
def test_a_missing_key_is_named(key, tmp_path):
    """Catches a default for what a person must decide."""
    assert f"{'.'.join(key)}: missing" in problem_of(changed(key), tmp_path / "p.json")


@pytest.mark.parametrize("key", [key for key in KEYS if key != ("schema",)], ids=".".join)
def test_an_unknown_key_names_the_nearest(key, tmp_path):
    """Catches a mistyped key that is passed over, at any depth."""
    wrong = f"{key[-1]}x"
    problem = problem_of(changed(key, **{wrong: profile_data().get(key[-1], 1)}), tmp_path / "p.json")
    assert f"{'.'.join((*key[:-1], wrong))}: unknown key: did you mean {key[-1]}?" in problem


@pytest.mark.parametrize("value", ["4", 4.5, True])
def test_numbers_are_not_guessed(value, tmp_path):
    """Catches decoding that is not strict."""
    assert "device.sms" in problem_of(changed(("device", "sms"), sms=value), tmp_path / "p.json")


def test_a_bad_radius_in_a_file_says_how_to_write_it(tmp_path):
    """Catches core's own message lost on its way through pydantic."""
    path = tmp_path / "t.json"
    path.write_text('{"norm": "Linf", "eps": "8"}')
    with pytest.raises(ArtefactError, match=r"Linf.*write 8/255, not 8"):
        decode_json(ThreatModel, path)


@pytest.mark.parametrize("text", ["", "{", "null", "[1]", '{"norm": NaN}', "\x00"])
def test_what_is_no_json_is_a_damaged_file(text, tmp_path):
    """Catches a parser's own error reaching the user as a bug."""
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(ArtefactError, match=r"t\.json"):
        decode_json(ThreatModel, path)


@pytest.mark.parametrize("content", [b"norm = ", b"norm = 'Linf'\nnorm = 'L2'", b"\xff\xfe"])
def test_what_is_no_toml_is_bad_input(content, tmp_path):
    """Catches the same for files that people write."""
    path = tmp_path / "t.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"t\.toml: not valid TOML"):
        decode_toml(ThreatModel, path)


@pytest.mark.parametrize(("decode", "error"), [(decode_json, ArtefactError), (decode_toml, ConfigError)])
def test_a_file_that_cannot_be_read(decode, error, tmp_path):
    """Catches a traceback for a missing file or a folder."""
    for path, said in ((tmp_path / "none", "there is no such file"), (tmp_path, "this is a folder")):
        with pytest.raises(error, match=said):
            decode(ThreatModel, path)


def test_toml_may_hold_dates_and_is_then_told_the_type(tmp_path):
    """Catches a crash on TOML values that JSON does not have."""
    path = tmp_path / "t.toml"
    path.write_text("norm = 1979-05-27\neps = '8/255'")
    with pytest.raises(ConfigError, match="norm"):
        decode_toml(ThreatModel, path)
