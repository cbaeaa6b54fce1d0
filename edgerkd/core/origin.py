"""Who says each thing in a report: measured here, claimed by the bundle, or brought by whoever verifies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgerkd.core.budget import limits
from edgerkd.core.record import Record
from edgerkd.core.requirement import GATES, Requirement

Origin = Literal["measured", "claimed", "brought"]

Asker = Literal["teacher", "profile", "maker", "verifier"]
"""Who asks a threshold: the profile, as a share of what the bundle says of its `teacher`; the `profile` itself, in the
bundle; the bundle's `maker`; or the `verifier`, by a flag or by a profile of their own."""

FIELDS: dict[str, Origin | None] = {
    "verdict": "measured",
    "bundle": "claimed",
    "manifest_sha256": "measured",
    "threat_model": None,
    "requirement": None,
    "reference": "claimed",
    "target": None,
    "engine": "measured",
    "build": "measured",
    "skipped": "measured",
    "samples": None,
    "plain": "measured",
    "parity": "measured",
    "twin_agreement": "measured",
    "gradients": "measured",
    "clean_acc": "measured",
    "robust_acc": "measured",
    "judged": "measured",
    "by_class": "measured",
    "rows": "measured",
    "flags": "measured",
    "notices": "measured",
    "retention": "claimed",
    "gates": "measured",
    "latency_ms": "measured",
    "timing": "measured",
    "budget": "measured",
    "origins": "measured",
    "seed": None,
    "probe_seed": "measured",
    "trust": "measured",
    "made": "measured",
    "curve": "measured",
    "kept": "measured",
    "engine_memory": "measured",
}
"""Of each field of a VerifyReport; None where it depends on what was brought. What is made of several sources has the
least reliable one: retention is a share of what the bundle says that its model held."""

COUNTED = ("params", "macs", "peak_bytes")
"""Limits held against the bundle's own counts, which verify/claims.py refuses where the graph says otherwise;
`peak_bytes` only where what the engine takes on the device was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins(Record):
    """Who says what. `fields` are the report's own; by the name of each gate and limit, `figures` are what was
    measured, and `thresholds` who asks for it.
    """

    fields: dict[str, Origin]
    figures: dict[str, Origin]
    thresholds: dict[str, Asker]


def origins_of(
    thresholds: Mapping[str, Asker],
    *,
    samples_brought: bool,
    eps_brought: bool,
    profile_brought: bool,
    seed_brought: bool,
    peak_measured: bool = False,
) -> Origins:
    """Who says each field of a report, given what the verifier brought and who asks each threshold.

    `peak_measured`: a limit of peak memory is held against what was measured (verify/limits.py).
    """
    of_samples: Origin = "brought" if samples_brought else "claimed"
    threat_model: Origin = "brought" if eps_brought else "claimed"
    target: Origin = "brought" if profile_brought else "claimed"
    asked: Origin = "brought" if thresholds and set(thresholds.values()) == {"verifier"} else "claimed"
    depends: dict[str, Origin] = {
        "samples": of_samples,
        "threat_model": threat_model,
        "target": target,
        "requirement": asked,
        "seed": "brought" if seed_brought else "measured",
    }
    fields: dict[str, Origin] = {name: origin or depends[name] for name, origin in FIELDS.items()}
    figures: dict[str, Origin] = {name: "measured" for name in thresholds}
    claimed = {*COUNTED, "retention"} - ({"peak_bytes"} if peak_measured else set())
    figures |= {name: "claimed" for name in thresholds if name in claimed}
    return Origins(
        fields=fields,
        figures=figures,
        thresholds=dict(thresholds),
    )


def askers(*asked: tuple[Asker, Requirement]) -> dict[str, Asker]:
    """Who asks each gate and each limit: the last that does, as core/requirement.py's `combined` has it."""
    found: dict[str, Asker] = {}
    for who, requirement in asked:
        found |= dict.fromkeys(requirement.gates, who)
        if bounds := limits(requirement.budget):  # a budget counts as a whole
            found = {**{name: each for name, each in found.items() if name in GATES}, **dict.fromkeys(bounds, who)}
    return found
