"""Who says each figure: complete, and right for what is brought."""

from dataclasses import fields

import pytest

from edgerkd.core.origin import COUNTED, FIELDS, askers, origins_of
from edgerkd.core.profile import Budget
from edgerkd.core.requirement import Requirement
from edgerkd.core.verification import VerifyReport
from edgerkd.report.origins import ASKER_WORDS, ORIGIN_WORDS

NOTHING = {"samples_brought": False, "eps_brought": False, "profile_brought": False, "seed_brought": False}


def test_every_field_of_a_report_has_an_origin():
    """Catches a new field of which nobody says whether it was measured, claimed or brought."""
    assert set(FIELDS) == {field.name for field in fields(VerifyReport)}
    found = origins_of({}, **NOTHING)
    assert set(found.fields) == set(FIELDS)
    assert set(found.fields.values()) <= set(ORIGIN_WORDS)


@pytest.mark.parametrize(
    ("brought", "field", "origin"),
    [
        ({}, "samples", "claimed"),
        ({"samples_brought": True}, "samples", "brought"),
        ({}, "threat_model", "claimed"),
        ({"eps_brought": True}, "threat_model", "brought"),
        ({"profile_brought": True}, "target", "brought"),
        ({"samples_brought": True}, "reference", "claimed"),
        ({"samples_brought": True}, "retention", "claimed"),
        ({}, "clean_acc", "measured"),
        ({}, "seed", "measured"),
        ({"seed_brought": True}, "seed", "brought"),
    ],
)
def test_what_is_brought_is_said_to_be(brought, field, origin):
    """Catches a claim of the bundle's that is shown as measured, and the verifier's own shown as the bundle's."""
    assert origins_of({}, **{**NOTHING, **brought}).fields[field] == origin


def test_a_threshold_is_whose_it_is_last():
    """Catches a gate that the teacher sets, shown as the verifier's, and one that was overruled, shown as before."""
    teacher = Requirement(min_clean_acc=0.8, min_robust_acc=0.5)
    profile = Requirement(min_retention=0.9, budget=Budget(params=10, macs=20))
    maker = Requirement(min_clean_acc=0.9)
    verifier = Requirement(min_robust_acc=0.4, budget=Budget(latency_p99_ms=3.0))
    found = askers(("teacher", teacher), ("profile", profile), ("maker", maker), ("verifier", verifier))
    assert found == {
        "clean_acc": "maker",
        "robust_acc": "verifier",
        "retention": "profile",
        "latency_p99_ms": "verifier",
    }
    assert set(found.values()) <= set(ASKER_WORDS)


def test_counts_of_the_bundle_are_claims_and_what_is_timed_is_measured():
    """Catches parameters that the manifest says, shown as measured here."""
    asked = dict.fromkeys((*COUNTED, "file_bytes", "latency_ms", "retention", "robust_acc"), "profile")
    figures = origins_of(asked, **NOTHING).figures
    weighed = origins_of(asked, **NOTHING, peak_measured=True).figures
    assert {name for name, origin in weighed.items() if origin == "claimed"} == {"params", "macs", "retention"}
    assert {name for name, origin in figures.items() if origin == "claimed"} == {*COUNTED, "retention"}
    assert figures["file_bytes"] == figures["latency_ms"] == figures["robust_acc"] == "measured"
