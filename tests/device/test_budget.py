"""Budgets: which limits hold, and which a network exceeds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerkd.core.architecture import Cost
from edgerkd.core.budget import Violation, limits, violations
from edgerkd.core.profile import Budget

counts = st.integers(1, 10**9)
costs = st.builds(
    Cost,
    params=counts,
    macs=counts,
    file_bytes=counts,
    peak_bytes=counts,
    latency_ms=st.none() | st.floats(0.001, 1000),
)
sizes = counts.map("{} B".format)
budgets = st.builds(
    Budget,
    params=st.none() | counts,
    macs=st.none() | counts,
    latency_ms=st.none() | st.floats(0.001, 1000),
    file=st.none() | sizes,
    peak_memory=st.none() | sizes,
    teacher_share=st.none() | st.floats(0.01, 1),
)
COST = Cost(params=100, macs=1000, file_bytes=400, peak_bytes=800, latency_ms=2.0)


def names(found: tuple[Violation, ...]) -> set[str]:
    return {violation.limit for violation in found}


@given(budgets, costs, costs, st.data())
def test_tightening_a_limit_never_turns_a_violation_off(budget, cost, teacher, data):
    """Catches a limit that is compared the wrong way round, or that displaces another."""
    field = data.draw(st.sampled_from(["params", "macs", "latency_ms", "file", "peak_memory", "teacher_share"]))
    old = getattr(budget, field)
    if field in ("file", "peak_memory"):
        new = f"{data.draw(st.integers(1, int(old.split()[0]) if old else 10**9))} B"
    elif field in ("params", "macs"):
        new = data.draw(st.integers(1, old or 10**9))
    else:
        new = data.draw(st.floats(0.001, old or 1))
    tighter = replace(budget, **{field: new})
    assert names(violations(budget, cost, teacher)) <= names(violations(tighter, cost, teacher))


@given(budgets, costs, costs)
def test_violations_are_exactly_what_exceeds_its_limit(budget, cost, teacher):
    """Catches a limit that is not looked at, and one that is reached taken for exceeded."""
    bounds = limits(budget, teacher)
    found = {violation.limit: violation for violation in violations(budget, cost, teacher)}
    for name, required in bounds.items():
        measured = getattr(cost, name)
        assert (name in found) == (measured is not None and measured > required)
    assert all((v.required, v.measured) == (bounds[n], getattr(cost, n)) for n, v in found.items())


@pytest.mark.parametrize(
    ("budget", "limit", "required"),
    [
        (Budget(params=99), "params", 99),
        (Budget(macs=999), "macs", 999),
        (Budget(latency_ms=1.9), "latency_ms", 1.9),
        (Budget(file="399 B"), "file_bytes", 399),
        (Budget(peak_memory="799 B"), "peak_bytes", 799),
    ],
)
def test_each_limit_bounds_its_own_cost(budget, limit, required):
    """Catches two limits mixed up."""
    (found,) = violations(budget, COST)
    assert (found.limit, found.required) == (limit, required)
    assert limit in str(found)


def test_a_limit_that_is_just_kept_is_kept():
    """Catches `>=` for `>`."""
    budget = Budget(params=100, macs=1000, latency_ms=2.0, file="400 B", peak_memory="800 B")
    assert violations(budget, COST) == ()


def test_a_students_share_of_its_teacher_bounds_parameters_and_macs_alone():
    """Catches a share that replaces a tighter limit, that bounds the file, or that is used without a teacher."""
    teacher = Cost(params=200, macs=1600, file_bytes=1, peak_bytes=1, latency_ms=0.1)
    budget = Budget(params=60, teacher_share=0.5)
    assert limits(budget, teacher) == {"params": 60, "macs": 800}
    assert limits(budget) == {"params": 60}


def test_an_unknown_latency_exceeds_nothing():
    """Catches None compared with a number, and a student refused for what nobody knows."""
    assert violations(Budget(latency_ms=0.001), replace(COST, latency_ms=None)) == ()
