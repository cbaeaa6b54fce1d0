"""Whether a report is about a bundle: what it says of the bundle, and what it took from there."""

from collections.abc import Iterator
from dataclasses import fields, replace

from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import Bundle
from edgerkd.core.errors import ConfigError, MissingDependencyError
from edgerkd.core.requirement import Requirement, choose_profile
from edgerkd.core.variant import Variant
from edgerkd.core.verification import VerifyReport
from edgerkd.verify.asking import Asking
from edgerkd.verify.distinct import distinct
from edgerkd.verify.evidence import stored_attacks
from edgerkd.verify.own import Brought, judged_samples
from edgerkd.verify.recheck_made import STORED
from edgerkd.verify.target import target_of
from edgerkd.verify.verdict import floor_of


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
        found += _samples(report, bundle, variant)
    return [*found, *_required(report, bundle)]


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


def _samples(report: VerifyReport, bundle: Bundle, variant: Variant) -> Iterator[str]:
    """Unless the verifier drew others, the bundle's own images were judged, and those that its host made of them.

    Raises ArtefactError for samples that do not fit the model.
    """
    said, threat_model = report.samples, report.threat_model
    stored: tuple[str, ...] = ()
    if said.source == "bundle" or said.seed is None:
        every, _ = bundle.samples(variant)
        rows = distinct(every.images, eps=float(threat_model.eps), norm=threat_model.norm)
        brought = Brought(made_here=said.source == "verifier")
        samples, facts = judged_samples(bundle, every, rows, brought, threat_model)
        attacks = stored_attacks(samples, bundle.manifest.origins, variant.precision)
        stored = tuple(attack.id for attack in attacks)
        for name in (field.name for field in fields(facts)):
            if (own := getattr(said, name)) != (has := getattr(facts, name)):
                yield f"samples.{name}: {own}, and of the bundle's images it is {has}"
    named = tuple(row.attack for row in report.rows if row.source in STORED)
    if report.rows and named != stored:
        yield f"rows: {', '.join(named) or 'none'} of stored images, and here these are {', '.join(stored) or 'none'}"


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
    if not measured and report.origins.thresholds != asking.askers():
        yield "origins.thresholds: not who asks, of the bundle, its profile and the verifier (made.asked)"
