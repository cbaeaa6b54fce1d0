"""Whether a report is about a bundle: what it says of the bundle, and what it took from there."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from edgerkd.attacks.flag_kinds import OTHER_NETWORK
from edgerkd.bundle.kept import Kept
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import Bundle
from edgerkd.core.engine import BuildLog
from edgerkd.core.errors import ConfigError, MissingDependencyError
from edgerkd.core.requirement import Requirement, choose_profile
from edgerkd.core.variant import Variant
from edgerkd.core.verification import VerifyReport
from edgerkd.verify.asking import Asking
from edgerkd.verify.build import FALLBACK, preferred_backends
from edgerkd.verify.distinct import distinct
from edgerkd.verify.evidence import stored_attacks
from edgerkd.verify.limits import peak_measured
from edgerkd.verify.notices import notices_of
from edgerkd.verify.one_network import network_doubts
from edgerkd.verify.own import Brought, judged_samples
from edgerkd.verify.recheck_answers import answer_problems, images_problems, parity_problems
from edgerkd.verify.recheck_made import STORED
from edgerkd.verify.recheck_measured import ABOUT_ATTACKS
from edgerkd.verify.session import expected_of
from edgerkd.verify.target import target_of


def bundle_problems(report: VerifyReport, bundle: Bundle, kept: Kept | None = None) -> list[str]:
    """All in the report, and in the images `kept` beside it, that is not so in the bundle, each with its key."""
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
    found += _classes(report, manifest.model.classes)
    variant = next((each for each in manifest.variants if each.name == report.engine.variant), None)
    if variant is None or variant.precision != report.engine.precision:
        found.append(f"engine.variant: the bundle has no {report.engine.precision} variant {report.engine.variant}")
    else:
        found += _engine(report, bundle, variant)
        found += _samples(report, bundle, variant, kept)
    return [*found, *_required(report, bundle), *_prepared(report, bundle)]


def _classes(report: VerifyReport, names: Sequence[str]) -> Iterator[str]:
    """The bundle's, in its order, each with images or missing."""
    there, missing = [each.name for each in report.by_class.classes], list(report.by_class.missing)
    plain = [each.name for each in report.plain.classes]
    for key, own in (("by_class.classes", there), ("by_class.missing", missing), ("plain.classes", plain)):
        if own != [name for name in names if name in own]:
            yield f"{key}: its classes are not the bundle's, in their order"
    if {*there, *missing} != set(names):
        yield "by_class: its classes are not the bundle's"


def _engine(report: VerifyReport, bundle: Bundle, variant: Variant) -> Iterator[str]:
    """A graph that is its own engine, and an engine that the bundle brings, have a digest there."""
    try:
        is_graph = load_backend(report.engine.backend).suffix == ".onnx"
    except (ConfigError, MissingDependencyError):  # a backend that is not known here
        is_graph = False
    name = variant.engine or (variant.graph if is_graph else None)
    if name is not None and report.engine.sha256 != bundle.manifest.files[name].sha256:
        yield f"engine.sha256: not that of {name}, which is the engine"
    if name is not None and replace(report.build, arithmetic=None) != BuildLog():  # which a processor may decide
        yield f"build: {name} is the engine, and nothing was decided to build it"
    cost = bundle.manifest.model.cost
    counted = {"params": cost.params, "macs": cost.macs, "peak_bytes": cost.peak_bytes}
    counted |= {} if name is None else {"file_bytes": bundle.manifest.files[name].size}
    memory = report.engine_memory
    if memory is not None and memory.counted != cost.peak_bytes:
        yield f"engine_memory.counted: {memory.counted}, and the bundle says {cost.peak_bytes}"
    if peak_measured(memory, report.target) is not None:  # then its limit is not held against the bundle's count
        del counted["peak_bytes"]
    for each in report.budget:
        if each.limit in counted and each.measured != counted[each.limit]:
            yield f"budget.{each.limit}.measured: {each.measured}, and the bundle says {counted[each.limit]}"


def _samples(report: VerifyReport, bundle: Bundle, variant: Variant, kept: Kept | None) -> Iterator[str]:
    """Unless the verifier drew others, the bundle's own images were judged, and those that its host made of them.

    Raises ArtefactError for samples that do not fit the model.
    """
    said, threat_model = report.samples, report.threat_model
    stored: tuple[str, ...] = ()
    every, reference = bundle.samples(variant)
    doubts = network_doubts(bundle, variant, reference, every)
    if [flag for flag in report.flags if flag.id == OTHER_NETWORK.id] != list(doubts):
        yield "flags: not the doubt about the float32 model that the bundle's stored answers give"
    rows = distinct(every.pixels, eps=float(threat_model.eps), norm=threat_model.norm)
    reference = expected_of(bundle, variant, reference.take(rows))
    yield from parity_problems(report, variant, reference)
    if said.source == "bundle" or said.seed is None:
        brought = Brought(made_here=said.source == "verifier")
        samples, facts = judged_samples(bundle, every, rows, brought, threat_model)
        attacks = stored_attacks(samples, bundle.manifest.origins, variant.precision)
        stored = tuple(attack.id for attack in attacks)
        for name in (field.name for field in fields(facts)):
            if (own := getattr(said, name)) != (has := getattr(facts, name)):
                yield f"samples.{name}: {own}, and of the bundle's images it is {has}"
        host = bundle.manifest.host
        model = None if host is None else bundle.reference(host, every).take(rows)
        if said.sha256 == facts.sha256:
            yield from answer_problems(report, bundle, samples, reference, model)
            yield from () if kept is None else images_problems(report, kept, samples)
    elif report.judged.host is not None:
        yield "judged.host: the host attacked the bundle's images, and these are the verifier's"
    named = tuple(row.attack for row in report.rows if row.source in STORED)
    if report.rows and named != stored:
        yield f"rows: {', '.join(named) or 'none'} of stored images, and here these are {', '.join(stored) or 'none'}"


def _prepared(report: VerifyReport, bundle: Bundle) -> Iterator[str]:
    """The notice about the radius, and which backends were tried before the one that works here."""
    own, of_bundle = report.threat_model.eps, bundle.manifest.threat_model.eps
    follow = notices_of(report.samples, eps=own, of_bundle=of_bundle, engine=report.engine, log=report.build)
    if [each for each in report.notices if each.id not in ABOUT_ATTACKS] != list(follow):
        yield "notices: not those that samples, threat_model, engine and bundle give"
    target = report.target
    if report.origins.fields.get("target") == "brought" or not report.skipped:  # a backend may have been named
        return
    try:
        profile = choose_profile(bundle.manifest.profiles, None if target is None else target.profile)
    except ConfigError:  # said elsewhere
        return
    order = list(dict.fromkeys((*preferred_backends(bundle, profile), FALLBACK)))
    before = order[: order.index(report.engine.backend)] if report.engine.backend in order else order
    if [each.backend for each in report.skipped] != before:
        yield f"skipped: not {', '.join(before) or 'none'}, which come before {report.engine.backend}"


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
    if not measured and report.requirement != asking.required(floor=report.plain.floor):
        yield "requirement: not what the bundle, its profile and the verifier (made.asked) ask"
    if not measured and report.origins.thresholds != asking.askers():
        yield "origins.thresholds: not who asks, of the bundle, its profile and the verifier (made.asked)"
