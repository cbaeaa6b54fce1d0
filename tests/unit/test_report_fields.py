"""Every value of an honest report is held against the rest, its images or its bundle, or has a reason not to be."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.core.errors import EdgerkdError
from edgerkd.core.progress import Silent
from edgerkd.core.requirement import Requirement
from edgerkd.core.verification import VerifyReport
from edgerkd.files.decode import decode_plain, plain
from edgerkd.verify.own import Brought, OwnSamples
from edgerkd.verify.recheck import kept_of, kept_problems, problems_of
from edgerkd.verify.recheck_bundle import bundle_problems
from edgerkd.verify.run import verify
from tests.bundles import write_rounded_bundle
from tests.graph_bundles import bars

Key = tuple[str | int, ...]

PIXELS, LABELS = bars(30, seed=1)
KINDS: dict[str, dict[str, Any]] = {
    "attacked": {"variant": "int8", "requirement": Requirement(min_clean_acc=0.1, min_robust_acc=0.1)},
    "own images": {
        "variant": "fp16",
        "brought": Brought(samples=OwnSamples(data="own", pixels=PIXELS, labels=LABELS, of=90, seed=7)),
    },
    "not attacked": {"variant": "fp32", "attack": None},
}

MEASURED = "measured on that machine at that time, and nothing else was measured that it would follow from"
MACHINE = "what the machine says of itself"
WORDS = "helps a reader to find a cause, and no figure rests on it"
SIGNED_ONLY = {
    "engine.version": MACHINE,
    "engine.device.name": MACHINE,
    "engine.device.machine": MACHINE,
    "engine.device.capability": MACHINE,
    "engine.device.multiprocessors": MACHINE,
    "build.arithmetic": MACHINE,
    "made.versions": MACHINE,
    "made.versions.edgerkd": MACHINE,
    "made.versions.python": MACHINE,
    "made.versions.numpy": f"{MACHINE}; another NumPy may draw another order of the images (NEP 19)",
    "timing.warmup": MEASURED,
    "timing.settled": MEASURED,
    **{
        f"timing.{when}.{what}": MACHINE
        for when in ("before", "after")
        for what in ("power_mode", "governors", "clocks_hz", "celsius", "held_back", "slowdowns")
    },
    "timing.device_ms": MEASURED,
    "timing.energy": MEASURED,
    "latency_ms.p50": f"{MEASURED}: only in which bin of the histogram it lies",
    "latency_ms.p99": f"{MEASURED}: it lies above the histogram",
    "engine_memory.process": MEASURED,
    "engine_memory.device": MEASURED,
    "parity.max_abs_dlogit": f"{MEASURED}: only that it is within the limit",
    "twin_agreement": f"{MEASURED}: only that the verdict follows",
    "gradients.correlation": MEASURED,
    "gradients.low": MEASURED,
    "gradients.high": MEASURED,
    "seed": "drawn, or given by the verifier: to hold it would be to attack again",
    "kept": "the file of images may be left out",
    "kept.file": "a report and its file may be renamed together",
    "plain.causes": WORDS,
}
"""What only the signature protects, and why."""
HELD_FLAGS = {"over-reports", "noise-fools-as-many", "unsteady-latency", "limit-not-measured", "another-network"}
"""The others come of what an engine answers to probes, and only the signature protects them."""
OF_OWN_IMAGES = {
    "samples.data": "the verifier's, of which nothing is in the bundle",
    "samples.of": "the verifier's, of which nothing is in the bundle",
    "samples.seed": "the verifier's, of which nothing is in the bundle",
    "samples.sha256": "the verifier's, of which nothing is in the bundle",
}
OF_NO_ATTACK = {
    "probe_seed": "no order of images was drawn",
    **{
        f"made.asked.{name}": "asked beside figures alone, where nothing is required"
        for name in (
            *("min_clean_acc", "min_robust_acc", "min_retention"),
            *(f"budget.{name}" for name in plain(Requirement())["budget"]),
        )
    },
}
FREE = {
    "attacked": SIGNED_ONLY,
    "own images": SIGNED_ONLY | OF_OWN_IMAGES,
    "not attacked": SIGNED_ONLY | OF_NO_ATTACK,
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("fields") / "bundle"
    write_rounded_bundle(folder)
    return read_bundle(folder)


def values(document: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value, and every part, with its key; of a list the first two and the last."""
    if key:
        yield key, document
    if isinstance(document, dict):
        for name, value in document.items():
            yield from values(value, (*key, name))
    elif isinstance(document, list):
        for place in sorted({0, 1, len(document) - 1} & set(range(len(document)))):
            yield from values(document[place], (*key, place))


def altered(value: Any) -> list[Any]:
    """Others in the place of a value: those that are no such value are refused for that."""
    if isinstance(value, bool):
        return [not value, None]
    if isinstance(value, int):
        return [value + 1, value - 1, value + 1000]
    if isinstance(value, float):
        return [value + 0.001, value - 0.001, 2 * value + 0.01, 0.0]
    if isinstance(value, str):
        return [f"{value}x", f"x{value[1:]}"]
    if isinstance(value, list):
        return [[], value[:-1], [*value, *(value[-1:] or ["x"])], value[::-1], None]
    if isinstance(value, dict):
        fewer = [{name: each for name, each in value.items() if name != left} for left in list(value)[:3]]
        return [None, {}, {**value, "x": 1}, *fewer]
    return [1, 0.5, "x", True, [], {}, ["x"]]


def with_value(document: Any, key: Key, value: Any) -> Any:
    changed = json.loads(json.dumps(document))
    holder = changed
    for name in key[:-1]:
        holder = holder[name]
    holder[key[-1]] = value
    return changed


def passes(document: Any, honest: VerifyReport, bundle: Bundle, images: Path) -> bool:
    """Whether `verify --check` would take it for another report than the honest one, had its forger signed it."""
    try:
        report = decode_plain(VerifyReport, {"schema": VerifyReport.SCHEMA, **document}, "it")
    except EdgerkdError:
        return False
    return report != honest and not problems(report, bundle, images)


def problems(report: VerifyReport, bundle: Bundle, images: Path) -> list[str]:
    found = problems_of(report) or kept_problems(report, images)
    return found or bundle_problems(report, bundle, kept_of(report, images))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_held_or_has_a_reason_not_to_be(bundle, tmp_path, kind):
    """Catches a field that a forger may change at will, new ones among them: each alteration by itself is refused."""
    images = tmp_path / "verify.images.npz"
    report = verify(
        bundle, engines=tmp_path / "engines", keep=images, seed=3, probe_seed=4, progress=Silent(), **KINDS[kind]
    )
    document = json.loads(json.dumps(plain(report)))
    assert problems(report, bundle, images) == []
    free: set[str] = set()
    for key, value in values(document):
        others = [each for each in altered(value) if json.dumps(each) != json.dumps(value)]
        if any(passes(with_value(document, key, other), report, bundle, images) for other in others):
            free.add(".".join("*" if isinstance(part, int) else part for part in key))
    if any(flag.id not in HELD_FLAGS for flag in report.flags):
        free = {key for key in free if not key.startswith("flags")}
    assert free <= FREE[kind].keys(), free - FREE[kind].keys()
