"""Which student is chosen, and what is predicted of it."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerkd.core.architecture import Architecture, Cost, StudentFamily
from edgerkd.core.errors import BudgetError, ConfigError, UnknownNameError
from edgerkd.core.profile import Budget, Device, Profile
from edgerkd.core.units import parse_size
from edgerkd.files.profiles import load_profile
from edgerkd.models.cost import count_cost
from edgerkd.plan import search
from edgerkd.plan.latency import predict_latency_ms
from edgerkd.plan.search import Plan, check_family, plan_student, warning
from tests.zoo import architecture

TEACHER = architecture("preactresnet", widths=(32, 64, 128), blocks=(2, 2, 2), channels=3, height=32, width=32)
COST = Cost(params=1000, macs=10**9, file_bytes=4000, peak_bytes=10**7)
DEVICE = Device(soc="toy", fp32_tflops=1.0, memory_gbps=10.0)

shares = st.floats(0.001, 1)
budgets = st.builds(
    Budget,
    params=st.none() | st.integers(3_000, 600_000),
    macs=st.none() | st.integers(500_000, 100_000_000),
    latency_ms=st.none() | st.floats(0.05, 3),
    file=st.none() | st.integers(12, 2_500).map("{} kB".format),
    peak_memory=st.none() | st.integers(12, 4_000).map("{} kB".format),
    teacher_share=st.none() | st.floats(0.02, 1),
)
LIMITS = ("params", "macs", "latency_ms", "file", "peak_memory", "teacher_share")


@pytest.fixture(scope="module", autouse=True)
def _counted_once() -> Iterator[None]:
    """Each network is counted once for the whole file: it takes most of a plan's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "count_cost", cache(search.count_cost))
        yield


def profile(budget: Budget, device: str = "jetson-orin") -> Profile:
    return replace(load_profile(device), budget=budget)


def plan_for(device: Profile, teacher: Architecture, family: str = "resnet") -> Plan:
    return plan_student(device, teacher, count_cost(teacher)[0], family)


def planned(budget: Budget, device: str = "jetson-orin") -> Plan | None:
    """The plan; None where nothing fits."""
    try:
        return plan_for(profile(budget, device), TEACHER)
    except BudgetError:
        return None


def keeps(budget: Budget, cost: Cost, teacher: Cost) -> bool:
    """The budget once more, limit by limit, as profile.py words it."""
    share = budget.teacher_share
    return (
        (budget.params is None or cost.params <= budget.params)
        and (budget.macs is None or cost.macs <= budget.macs)
        and (budget.latency_ms is None or cost.latency_ms is None or cost.latency_ms <= budget.latency_ms)
        and (budget.file is None or cost.file_bytes <= parse_size(budget.file))
        and (budget.peak_memory is None or cost.peak_bytes <= parse_size(budget.peak_memory))
        and (share is None or (cost.params <= share * teacher.params and cost.macs <= share * teacher.macs))
    )


@settings(max_examples=50)
@given(budgets)
def test_the_chosen_student_is_the_largest_that_keeps_every_limit(budget):
    """Catches a limit that is not looked at, and the smallest, or any, that fits in place of the largest."""
    plan = planned(budget)
    if plan is None:
        everything = planned(Budget())
        assert everything is not None
        assert not any(keeps(budget, c.cost, everything.teacher) for c in everything.candidates)
        return
    assert plan.chosen.violations == ()
    fitting = [c for c in plan.candidates if keeps(budget, c.cost, plan.teacher)]
    assert plan.chosen in fitting
    assert [c for c in plan.candidates if not c.violations] == fitting
    size = plan.chosen.cost.macs, plan.chosen.cost.params
    assert size == max((c.cost.macs, c.cost.params) for c in fitting)


@settings(max_examples=20)
@given(budgets)
def test_without_a_teacher_its_share_limits_nothing_and_all_else_does(budget):
    """Catches a student held to a share of a network that is not there, and one that is held to nothing."""
    device = profile(budget)
    try:
        alone = plan_student(device, TEACHER, None)
    except BudgetError:
        alone = None
    other = planned(replace(budget, teacher_share=None))
    assert (alone and alone.candidates) == (other and other.candidates)
    assert alone is None or (alone.teacher, warning(alone)) == (None, None)


@settings(max_examples=50)
@given(budgets, st.sampled_from(LIMITS), shares)
def test_tightening_a_limit_never_gives_a_larger_student(budget, limit, share):
    """Catches a limit compared the wrong way round, and a choice that depends on what it should not."""
    old = getattr(budget, limit)
    if limit in ("file", "peak_memory"):
        new = f"{max(1, int(share * parse_size(old or '4 MB')))} B"
    elif limit in ("params", "macs"):
        new = max(1, int(share * (old or 10**8)))
    else:
        new = share * (old or 1)
    looser, tighter = planned(budget), planned(replace(budget, **{limit: new}))
    if looser is None:
        assert tighter is None
    elif tighter is not None:
        before, after = looser.chosen.cost, tighter.chosen.cost
        assert (after.macs, after.params) <= (before.macs, before.params)


def test_candidates_are_distinct_and_stand_by_size():
    """Catches a student listed twice, and a table whose first row is not the largest."""
    plan = planned(Budget())
    assert plan is not None
    sizes = [(c.cost.macs, c.cost.params) for c in plan.candidates]
    assert sizes == sorted(sizes, reverse=True)
    assert len({c.architecture for c in plan.candidates}) == len(sizes)
    assert plan.chosen == plan.candidates[0]


def test_students_take_the_teachers_images():
    """Catches a student of another input, normalisation or number of classes than its teacher's."""
    plan = planned(Budget())
    assert plan is not None
    for name in ("channels", "height", "width", "classes", "mean", "std"):
        assert {getattr(c.architecture, name) for c in plan.candidates} == {getattr(TEACHER, name)}


@pytest.mark.parametrize("family", get_args(StudentFamily))
@pytest.mark.parametrize(("size", "stages"), [(32, 3), pytest.param(224, 5, marks=pytest.mark.slow)])
def test_every_family_has_students_of_every_size(monkeypatch, family, size, stages):
    """Catches a family planned as another, channels TensorRT would pad, and ImageNet's images at three stages."""
    monkeypatch.setattr(search, "_BLOCKS", (1,))  # a third of the networks to count
    plan = plan_for(profile(Budget()), replace(TEACHER, height=size, width=size), family)
    assert len(plan.candidates) == 18
    for candidate in plan.candidates:
        assert candidate.architecture.family == family
        assert len(candidate.architecture.widths) == stages
        assert all(width % 8 == 0 for width in candidate.architecture.widths)


def test_a_librarys_network_is_the_only_student_of_its_name():
    """Catches a network of torchvision's planned as our grid, and one over the budget chosen all the same."""
    large = replace(TEACHER, height=224, width=224)
    plan = plan_for(profile(Budget()), large, "torchvision:mobilenet_v3_small")
    assert [str(c.architecture) for c in plan.candidates] == ["torchvision:mobilenet_v3_small"]
    assert 1_500_000 < plan.chosen.cost.params < 1_600_000  # the published 2.5 M less its 990 further classes
    assert 55_000_000 < plan.chosen.cost.macs < 60_000_000  # published: 0.06 G
    with pytest.raises(BudgetError, match=r"no torchvision:mobilenet_v3_small fits[^$]*--family"):
        plan_for(profile(Budget(params=10)), large, "torchvision:mobilenet_v3_small")


@pytest.mark.parametrize(
    ("name", "channels", "size", "message"),
    [
        ("vgg11", 3, 32, "cannot be written as ONNX: .*adaptive_avg_pool2d"),
        ("resnet18", 1, 8, "does not take images"),
        ("alexnet", 3, 32, "does not take images"),
    ],
)
def test_a_librarys_network_that_could_not_be_trained_or_exported_is_not_planned(name, channels, size, message):
    """Catches a student distilled for hours that `export` refuses, and torch's RuntimeError for its images."""
    images = replace(TEACHER, channels=channels, height=size, width=size, mean=(0.5,) * channels, std=(0.5,) * channels)
    with pytest.raises(ConfigError, match=rf"--family torchvision:{name}: .*images \({channels}, {size}.*{message}"):
        plan_for(profile(Budget()), images, f"torchvision:{name}")


@pytest.mark.parametrize("name", ["mobilnetv2", "library", "torchvision:mobilenet_v9", "timm:resnet99"])
def test_an_unknown_family_is_said_before_a_teacher_is_trained_for_it(monkeypatch, name):
    """Catches a KeyError, or timm's RuntimeError, minutes later."""
    timm = SimpleNamespace(is_model=lambda name: name == "resnet50", list_models=lambda: ["resnet50"])
    monkeypatch.setitem(sys.modules, "timm", timm)
    with pytest.raises(UnknownNameError, match=r"did you mean|known: mobilenetv2"):
        check_family(name)


def test_a_student_larger_than_its_teacher_is_said():
    """Catches silence where distillation makes nothing smaller, and a warning at every plan."""
    tiny = replace(TEACHER, widths=(8, 8), blocks=(1, 1))
    said = warning(plan_for(profile(Budget(params=100_000)), tiny))
    assert said is not None
    assert said.startswith("warning: the student resnet")
    assert "than its teacher" in said
    assert "\n" not in said
    assert warning(plan_for(profile(Budget(params=100_000)), TEACHER)) is None


def test_a_limit_that_is_a_share_of_the_teachers_says_so():
    """Catches a limit that stands in no profile, and raising the profile's as its cure."""
    with pytest.raises(
        BudgetError, match=r"of these params, macs: 0.1% of the teacher's, .*raise teacher_share"
    ) as error:
        plan_for(profile(Budget(params=10**9, macs=10**12, teacher_share=0.001)), TEACHER)
    assert "raise these limits" not in str(error.value)


def test_no_student_names_each_broken_limit_of_the_smallest_and_no_other():
    """Catches a bare 'nothing fits', and a limit that was kept blamed."""
    everything = planned(Budget())
    assert everything is not None
    smallest = everything.candidates[-1].cost
    with pytest.raises(BudgetError) as error:
        plan_for(profile(Budget(params=100, macs=10**9, latency_ms=0.001, file="1 kB")), TEACHER)
    lines = [line.strip("- ") for line in str(error.value).splitlines() if line.startswith("  - ")]
    assert lines == [
        f"params: required at most 100, measured {smallest.params}",
        f"latency_ms: required at most 0.001, measured {smallest.latency_ms:g}",
        f"file_bytes: required at most 1000, measured {smallest.file_bytes}",
    ]
    assert error.value.exit_code == 3


@pytest.mark.parametrize("missing", ["fp32_tflops", "memory_gbps"])
def test_no_latency_is_predicted_for_a_device_that_is_not_known(missing):
    """Catches a number made up."""
    assert predict_latency_ms(COST, 10, replace(DEVICE, **{missing: None})) is None


def test_an_unknown_latency_breaks_no_limit():
    """Catches a device without published numbers for which no student can be planned."""
    plan = planned(Budget(latency_ms=0.001), device="x86-cpu")
    assert plan is not None
    assert {c.cost.latency_ms for c in plan.candidates} == {None}
    assert plan.chosen == plan.candidates[0]


def test_the_prediction_is_the_roofline_and_the_launches():
    """Catches a factor of 1000, of 2, and the sum of compute and traffic in place of the larger."""
    assert predict_latency_ms(COST, 0, DEVICE) == pytest.approx(10)  # 2e9 operations at 0.2 of 1e12 a second
    assert predict_latency_ms(replace(COST, macs=1), 0, DEVICE) == pytest.approx(1)  # 1e7 bytes at 1e10 a second
    assert predict_latency_ms(COST, 100, DEVICE) == pytest.approx(10.5)  # and 100 launches of 5 us
    assert predict_latency_ms(COST, 100, replace(DEVICE, launch_us=20.0)) == pytest.approx(12)


@given(
    st.integers(1, 10**10),
    st.integers(1, 10**10),
    st.integers(1, 10**9),
    st.integers(1, 200),
    st.floats(0.01, 1000),
    st.floats(0.1, 3000),
)
def test_more_work_never_takes_less_time(macs, more, traffic, layers, tflops, gbps):
    """Catches a prediction that falls as MACs, bytes or layers grow."""
    device = replace(DEVICE, fp32_tflops=tflops, memory_gbps=gbps)
    cost = replace(COST, macs=macs, peak_bytes=traffic)

    def ms(cost: Cost, layers: int) -> float:
        found = predict_latency_ms(cost, layers, device)
        assert found is not None
        return found

    base = ms(cost, layers)
    assert base > 0
    assert ms(replace(cost, macs=macs + more), layers) >= base
    assert ms(replace(cost, peak_bytes=traffic + more), layers) >= base
    assert ms(cost, layers + 1) > base
