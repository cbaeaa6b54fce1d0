"""Whether a report's verdict follows from its own figures, by the rules that made it, and whether it fits a bundle."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgerkd.bundle.kept import read_kept
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import Bundle
from edgerkd.core.accuracy import Accuracy, wilson_interval
from edgerkd.core.budget import limits
from edgerkd.core.errors import ArtefactError, ConfigError, MissingDependencyError
from edgerkd.core.gradient_check import REQUIRED, STRAY, GradientCheck, allowed_disagreements
from edgerkd.core.judged import RIGHT, WRONG
from edgerkd.core.kept import curve_of
from edgerkd.core.requirement import Requirement, choose_profile
from edgerkd.core.sequential import bounds, share
from edgerkd.core.variant import Variant
from edgerkd.core.verification import Verdict, VerifyReport
from edgerkd.files.atomic import sha256_of
from edgerkd.files.paths import shown
from edgerkd.verify.asking import Asking
from edgerkd.verify.limits import judge_limit, on_device
from edgerkd.verify.target import target_of
from edgerkd.verify.trust import backed
from edgerkd.verify.verdict import decide, floor_of, gates_of

_ROUNDING = 1e-9  # of figures that were computed, written as text and read again


def problems_of(report: VerifyReport) -> list[str]:
    """All that does not follow, each with the key it is about."""
    return [
        *_accuracies(report),
        *_classes(report),
        *_judged(report),
        *_parity(report),
        *_gradients(report.gradients, report.engine.precision),
        *_gates(report),
        *_budget(report),
        *_trust(report),
        *_verdict(report),
    ]


def kept_problems(report: VerifyReport, file: Path) -> list[str]:
    """All in the report that is not so in its file of images and outcomes, if it has one and that is here.

    Raises ArtefactError for a file that cannot be read.
    """
    if report.kept is None or not file.exists():
        return []
    if (digest := sha256_of(file, error=ArtefactError)) != report.kept.sha256:
        return [f"kept.sha256: {report.kept.sha256}, and that of {shown(file)} is {digest}"]
    kept, fates = read_kept(file), "".join(report.judged.fates)
    alike = {
        "judged.fates": (
            [(fate != WRONG, fate == RIGHT) for fate in fates],
            list(zip(kept.clean.tolist(), kept.robust.tolist(), strict=True)),
        ),
        "curve": (report.curve, curve_of(kept.distances.tolist(), report.threat_model.eps)),
    }
    return [f"{key}: it does not follow from {shown(file)}" for key, (said, has) in alike.items() if said != has]


def bundle_problems(report: VerifyReport, bundle: Bundle) -> list[str]:
    """All in the report that is not so in the bundle, each with the key it is about."""
    manifest = bundle.manifest
    if report.manifest_sha256 != bundle.sha256:
        return [
            f"manifest_sha256: {report.manifest_sha256}, and the bundle's is {bundle.sha256}: this is another bundle"
        ]
    own_radius = report.origins.fields.get("threat_model") == "brought"
    threat_model = replace(manifest.threat_model, eps=report.threat_model.eps) if own_radius else manifest.threat_model
    alike = {
        "bundle": (report.bundle, manifest.name),
        "threat_model": (report.threat_model, threat_model),
        "reference": (report.reference, manifest.reference),
    }
    found = [f"{key}: {said}, and the bundle has {has}" for key, (said, has) in alike.items() if said != has]
    names = {each.name for each in report.by_class.classes} | set(report.by_class.missing)
    if names != set(manifest.model.classes):
        found.append("by_class: its classes are not the bundle's")
    variant = next((each for each in manifest.variants if each.name == report.engine.variant), None)
    if variant is None or variant.precision != report.engine.precision:
        found.append(f"engine.variant: the bundle has no {report.engine.precision} variant {report.engine.variant}")
    else:
        found += _engine(report, bundle, variant)
    return [*found, *_required(report, bundle)]


def _accuracies(report: VerifyReport) -> Iterator[str]:
    named = {"clean_acc": report.clean_acc, "robust_acc": report.robust_acc}
    if not report.rows:  # nothing was attacked
        named = {"clean_acc": report.clean_acc}
    named |= {f"rows.{number}.robust_acc": row.robust_acc for number, row in enumerate(report.rows)}
    for number, each in enumerate(report.by_class.classes):
        named |= {f"by_class.classes.{number}.clean_acc": each.clean_acc}
        named |= {f"by_class.classes.{number}.robust_acc": each.robust_acc} if report.rows else {}
    for key, accuracy in named.items():
        hits = accuracy.value * accuracy.n
        if abs(hits - round(hits)) > 1e-6:
            yield f"{key}.value: {accuracy.value} is no whole number of {accuracy.n} images"
            continue
        fixed = wilson_interval(round(hits), accuracy.n)
        expected = bounds(share(round(hits), accuracy.n)) if report.rows else fixed
        if not _near((accuracy.low, accuracy.high), expected):
            yield f"{key}.low, {key}.high: not the interval of {round(hits)} of {accuracy.n}"
        if "classes" not in key and accuracy.n != report.clean_acc.n:
            yield f"{key}.n: {accuracy.n}, and clean_acc.n is {report.clean_acc.n}"
    for key in ("clean_acc", *(name for name in named if name.startswith("rows."))):
        if report.robust_acc.value > named[key].value + _ROUNDING:
            yield f"robust_acc.value: {report.robust_acc.value} is above {key}, and it is the worst case"


def _judged(report: VerifyReport) -> Iterator[str]:
    """What became of each image gives every figure under attack."""
    judged = report.judged
    if judged.of != report.samples.n:
        yield f"judged.of: {judged.of}, and samples.n is {report.samples.n}"
    if not report.rows:
        return
    said = {"clean_acc": report.clean_acc, "robust_acc": report.robust_acc}
    said |= {f"rows.{number}.robust_acc": row.robust_acc for number, row in enumerate(report.rows)}
    counted = {"clean_acc": judged.clean, "robust_acc": judged.robust}
    counted |= {f"rows.{number}.robust_acc": judged.after(number + 1) for number in range(len(report.rows))}
    for key, accuracy in said.items():
        if share(_hits(accuracy), accuracy.n) != counted[key]:
            yield f"judged: its counts are not those of {key}"
    retention = judged.retention
    if report.retention != (None if retention is None else retention.value):
        yield f"retention: {report.retention}, which does not follow from judged"


def _classes(report: VerifyReport) -> Iterator[str]:
    classes = report.by_class.classes
    for key, whole, parts in (
        ("clean_acc", report.clean_acc, [each.clean_acc for each in classes]),
        ("robust_acc", report.robust_acc, [each.robust_acc for each in classes]),
    ):
        if sum(part.n for part in parts) != whole.n or sum(map(_hits, parts)) != _hits(whole):
            yield f"by_class: the classes' {key} do not add up to {key}"
    worst = min(classes, key=lambda each: (each.robust_acc.value, each.clean_acc.value), default=None)
    if report.by_class.worst != (worst and worst.name):
        yield f"by_class.worst: {report.by_class.worst} is not the least robust class"


def _parity(report: VerifyReport) -> Iterator[str]:
    parity = report.parity
    if parity.ok != (parity.max_abs_dlogit <= parity.limit and parity.agreement == 1.0):
        yield f"parity.ok: {parity.ok} does not follow from max_abs_dlogit, limit and agreement"
    on_the_bundles = report.samples.seed is None  # else the images judged are not those that parity is about
    if on_the_bundles and parity.n not in (report.samples.n, 2 * report.samples.n):
        yield f"parity.n: {parity.n} is neither {report.samples.n} images nor these and their adversarial versions"


def _gradients(found: GradientCheck, precision: str) -> Iterator[str]:
    """A network that takes whole pixels is judged as int8 is (verify/session.py), an engine that shows no rounding as
    float32 is, whatever its precision.
    """
    moving = found.points - found.flat
    if found.agreeing + found.disagreeing != moving:
        yield "gradients.points: agreeing, disagreeing and flat do not add up to it"
        return
    rules = {
        each: (allowed_disagreements(moving, stray=STRAY[each]), REQUIRED[each]) for each in (precision, "int8", "fp32")
    }
    if (found.allowed, found.required) not in rules.values():
        yield f"gradients.allowed, gradients.required: not those of {precision}"
    if found.ok != (not found.failures):
        yield f"gradients.ok: {found.ok} does not follow from its figures"


def _gates(report: VerifyReport) -> Iterator[str]:
    expected = gates_of(report.requirement, report.judged)
    if [gate.gate for gate in expected] != [gate.gate for gate in report.gates]:
        yield "gates: not those that requirement asks"
        return
    for said, follows in zip(report.gates, expected, strict=True):
        if said != follows:
            yield f"gates.{said.gate}: does not follow from requirement and from what was measured"


def _budget(report: VerifyReport) -> Iterator[str]:
    asked = limits(report.requirement.budget)
    if {each.limit: each.required for each in report.budget} != asked or len(report.budget) != len(asked):
        yield "budget: not the limits that requirement asks"
    device = on_device(report.latency_ms, report.timing, report.target)
    for each in report.budget:
        if each.measured != device.get(each.limit, each.measured):
            yield f"budget.{each.limit}.measured: not what latency_ms and timing say"
        elif each != judge_limit(each.limit, each.required, each.measured, timing=report.timing):
            yield f"budget.{each.limit}.ok: {each.ok} does not follow from what was measured"
    latency = report.latency_ms
    if not latency.p50 <= latency.p95 <= latency.p99:
        yield "latency_ms: its percentiles are not in order"


def _trust(report: VerifyReport) -> Iterator[str]:
    trust = report.trust
    if ("signature" in trust.grounds and trust.signature != "valid") or (trust.signature == "valid") > (
        trust.key is not None
    ):
        yield "trust: a signature that counts must be valid, and of a key"
    if ("samples" in trust.grounds) != (report.samples.source == "verifier"):
        yield "trust.grounds: samples are a ground where the verifier brought them, and only there"


def _verdict(report: VerifyReport) -> Iterator[str]:
    follows: Verdict = decide(
        parity=report.parity,
        gates=report.gates,
        budget=report.budget,
        rows=report.rows,
        twin_agreement=report.twin_agreement,
        gradients=report.gradients,
        flags=report.flags,
    )
    if not report.requirement.asks_accuracy and report.parity.ok:
        follows = "measured"
    follows = backed(follows, report.trust)
    if report.verdict != follows:
        yield f"verdict: {report.verdict}, and by its own figures it is {follows}"


def _engine(report: VerifyReport, bundle: Bundle, variant: Variant) -> Iterator[str]:
    """A graph that is its own engine, and an engine that the bundle brings, have a digest there."""
    try:
        is_graph = load_backend(report.engine.backend).suffix == ".onnx"
    except (ConfigError, MissingDependencyError):  # a backend that is not known here
        is_graph = False
    name = variant.engine or (variant.graph if is_graph else None)
    if name is not None and report.engine.sha256 != bundle.manifest.files[name].sha256:
        yield f"engine.sha256: not that of {name}, which is the engine"
    cost = bundle.manifest.model.cost
    counted = {"params": cost.params, "macs": cost.macs, "peak_bytes": cost.peak_bytes}
    for each in report.budget:
        if each.limit in counted and each.measured != counted[each.limit]:
            yield f"budget.{each.limit}.measured: {each.measured}, and the bundle says {counted[each.limit]}"


def _required(report: VerifyReport, bundle: Bundle) -> Iterator[str]:
    """Thresholds that follow from the bundle; not those of a profile that the verifier brought."""
    manifest, target = bundle.manifest, report.target
    if report.origins.fields.get("target") == "brought":
        return
    try:
        profile = choose_profile(manifest.profiles, None if target is None else target.profile)
    except ConfigError:
        yield f"target.profile: the bundle has no profile {target and target.profile}"
        return
    if target != target_of(profile, report.engine):
        yield "target: not the device of the bundle's profile, or not reached by this engine as it says"
    asking = Asking(
        manifest=manifest,
        profile=profile,
        own_profile=False,
        own_radius=report.threat_model.eps != manifest.threat_model.eps,
        caller=Requirement() if report.made is None else report.made.asked,
    )
    measured = report.requirement == Requirement() and report.verdict in ("measured", "fail")  # or not the model
    if not measured and report.requirement != asking.required(floor=floor_of(report.plain)):
        yield "requirement: not what the bundle, its profile and the verifier (made.asked) ask"


def _hits(accuracy: Accuracy) -> int:
    return round(accuracy.value * accuracy.n)


def _near(found: tuple[float, float], expected: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, abs_tol=_ROUNDING) for a, b in zip(found, expected, strict=True))
