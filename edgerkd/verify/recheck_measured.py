"""Whether what a report says was measured fits together: times, curve, looks, causes and doubts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import accumulate

from edgerkd.attacks.flag_kinds import (
    KINDS,
    MODEL_UNKNOWN,
    NEARER,
    NOISE_FOOLS,
    OTHER_BACKEND,
    OTHER_BUILD,
    OTHER_INPUT,
    OTHER_PRECISION,
    OVER_REPORTS,
    TOO_FEW_CLASSES,
    UNMEASURED,
    UNSTEADY,
)
from edgerkd.attacks.gradient_check import POINTS
from edgerkd.attacks.row_flags import flags_of_rows
from edgerkd.attacks.suite import FULL
from edgerkd.core.errors import ConfigError
from edgerkd.core.flag import Flag
from edgerkd.core.judged import Judged
from edgerkd.core.kept import BINS, Histogram, radii_below
from edgerkd.core.profile import Budget
from edgerkd.core.units import Radius
from edgerkd.core.verification import Latency, VerifyReport
from edgerkd.verify.limits import unmeasured, unsteady
from edgerkd.verify.notices import notices_of
from edgerkd.verify.plain import WAYS
from edgerkd.verify.recheck_counts import ROUNDING, counted
from edgerkd.verify.unattacked import NOBODY
from edgerkd.verify.verdict import gates_of, settled

ABOUT_ATTACKS = (TOO_FEW_CLASSES.id, OVER_REPORTS.id)
"""Notices that come with an attack's name."""


def measured_problems(report: VerifyReport) -> Iterator[str]:
    """All that does not fit, each with the key it is about."""
    yield from _samples(report)
    yield from _looks(report)
    yield from _curve(report)
    yield from _gradients(report)
    yield from _latency(report)
    yield from _causes(report)
    yield from _layer(report)
    yield from _flags(report)
    yield from _notices(report)
    yield from _asked(report)
    yield from _machine(report)


def _samples(report: VerifyReport) -> Iterator[str]:
    """Those left out, and those judged, are not more than there were; of those that were drawn some may be left."""
    said = report.samples
    if said.n + said.repeated + said.stored > said.of:
        yield f"samples.of: {said.of}, and n, repeated and stored are more"
    classes, plain = report.by_class, [each.name for each in report.plain.classes]
    names = [*(each.name for each in classes.classes), *classes.missing]
    if len(set(names)) != len(names) or len(set(plain)) != len(plain) or not set(plain) <= set(names):
        yield "by_class: each class once, with images or missing, and all that plain.classes name"
    if report.rows:
        if any(each.robust_acc.value > each.clean_acc.value + ROUNDING for each in classes.classes):
            yield "by_class.classes: robust_acc is above clean_acc"
        return
    unattacked = [(each.name, each.engine_acc, NOBODY) for each in report.plain.classes]
    if [(each.name, each.clean_acc, each.robust_acc) for each in classes.classes] != unattacked:
        yield "by_class.classes: not what plain.classes say, and nothing was attacked"
    if (report.robust_acc, report.judged.host, report.retention) != (NOBODY, None, None):
        yield "robust_acc, judged.host, retention: of nobody where nothing was attacked"


def _looks(report: VerifyReport) -> Iterator[str]:
    """Images come so many at a time, until the gates are settled or all were judged, and no further."""
    judged, sizes = report.judged, [len(each) for each in report.judged.fates]
    if any(size != sizes[0] for size in sizes[:-1]) or (sizes and not 0 < sizes[-1] <= sizes[0]):
        yield "judged.fates: not of as many images at each look"
        return
    if not report.rows:
        return
    if judged.n < judged.of and not _sure(report, judged):
        yield f"judged.images: {judged.n} of {judged.of}, and it was not sure by then whether the gates are met"
    if not any(row.attack in FULL for row in report.rows):  # with --full all are judged, and it may be by these
        return
    for look, seen in enumerate(accumulate(sizes[:-1]), start=1):
        host = None if judged.host is None else judged.host[:look]
        if _sure(report, replace(judged, images=judged.images[:seen], fates=judged.fates[:look], host=host)):
            yield f"judged.images: {judged.n}, and after {seen} it was sure whether the gates are met"
            return


def _sure(report: VerifyReport, judged: Judged) -> bool:
    return not report.parity.ok or settled(gates_of(report.requirement, judged))


def _curve(report: VerifyReport) -> Iterator[str]:
    """It falls from what is right without a change to what is right under all attacks, or a little above it."""
    curve, eps = report.curve, report.threat_model.eps
    radii = [Radius(0), *radii_below(eps), eps] if report.rows else []
    if [point.eps for point in curve] != radii:
        yield "curve: not of the radii from 0 to that of threat_model, where rows say that it was attacked"
        return
    for number, point in enumerate(curve):
        yield from counted(f"curve.{number}.robust_acc", point.robust_acc, anytime=True)
        if point.robust_acc.n != report.judged.n:
            yield f"curve.{number}.robust_acc.n: {point.robust_acc.n}, and {report.judged.n} images were judged"
    hits = [point.robust_acc.hits for point in curve]
    if curve and [report.clean_acc.hits, *hits, report.robust_acc.hits] != sorted(
        [report.clean_acc.hits, *hits, report.robust_acc.hits], reverse=True
    ):
        yield "curve: it does not fall from clean_acc to robust_acc"


def _gradients(report: VerifyReport) -> Iterator[str]:
    found, points = report.gradients, POINTS if report.rows else 0
    if found.points != points:
        yield f"gradients.points: {found.points}, and {points} are asked for"
    nothing = found.points == found.flat and (found.correlation, found.low, found.high) != (0, -1, 1)
    if nothing or not found.low <= found.correlation <= found.high:
        yield "gradients.correlation: not within low and high"


def _latency(report: VerifyReport) -> Iterator[str]:
    latency, device = report.latency_ms, report.timing.device_ms
    if latency.batch != 1:
        yield f"latency_ms.batch: {latency.batch}, and one image is timed"
    if device is not None and not device.p50 <= device.p95 <= device.p99:
        yield "timing.device_ms: its percentiles are not in order"
    if latency.histogram is None:
        yield "latency_ms.histogram: not there"
    else:
        yield from _histogram(latency, latency.histogram)


def _histogram(latency: Latency, found: Histogram) -> Iterator[str]:
    """Its bins hold all runs, and each percentile lies where as many runs are below."""
    if len(found.counts) != BINS or sum(found.counts) + found.above != latency.runs:
        yield f"latency_ms.histogram: not {latency.runs} runs in {BINS} bins and above"
        return
    width = (found.high - found.low) / BINS
    if abs(found.high + found.low - 2 * latency.p95) > ROUNDING * latency.p95 or width < 0:
        yield "latency_ms.histogram: it does not reach as far above p95 as below it"
        return
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        value, rank = getattr(latency, name), int(share * (latency.runs - 1)) + 1
        below = sum(n for k, n in enumerate(found.counts) if found.low + (k + 1) * width < value * (1 - ROUNDING))
        up_to = sum(n for k, n in enumerate(found.counts) if found.low + k * width <= value * (1 + ROUNDING))
        up_to += found.above if value > found.high * (1 - ROUNDING) else 0
        if not below <= rank <= up_to:
            yield f"latency_ms.{name}: {value} is not where the histogram has {share:.0%} of the runs"


def _causes(report: VerifyReport) -> Iterator[str]:
    """Where the model was asked, none or all that the rest of the report gives, and perhaps what images were given."""
    plain, engine = report.plain, report.engine
    if plain.model is None:
        expected = [MODEL_UNKNOWN.raised(n=report.samples.n)]
        if list(plain.causes) != expected:
            yield "plain.causes: not that the model was not asked, and plain.model is not there"
        return
    follow: list[Flag] = []
    if engine.precision != "fp32":
        follow.append(OTHER_PRECISION.raised(precision=engine.precision, variant=engine.variant))
    if report.build.fallback is not None:
        follow.append(OTHER_BUILD.raised(reason=report.build.fallback))
    follow += [OTHER_BACKEND.raised(backend=each.backend, used=engine.backend) for each in report.skipped]
    inputs = [OTHER_INPUT.raised(way=way) for way in WAYS]
    own = [each for each in plain.causes if each not in inputs]
    if plain.causes and (own != follow or len(plain.causes) > len(own) + 1):
        yield "plain.causes: not what engine, build and skipped give"


def _layer(report: VerifyReport) -> Iterator[str]:
    plain, layer = report.plain, report.plain.layer
    n = report.samples.n
    if plain.model is not None and abs(plain.model.same_answer * n - round(plain.model.same_answer * n)) > 1e-6:
        yield f"plain.model.same_answer: {plain.model.same_answer} is no whole number of {n} images"
    if layer is not None and (plain.model is None or layer.place > layer.of):
        yield "plain.layer: beyond the last layer, or of a model that was not asked"


def _flags(report: VerifyReport) -> Iterator[str]:
    for flag in report.flags:
        if not _is_known(flag):
            yield f"flags: {flag.id} is no doubt that is known, or not with these facts"
    said = [flag for flag in report.flags if flag.id == UNSTEADY.id]
    if said != list(unsteady(report.budget, report.timing)):
        yield "flags: not the doubt about latencies that timing and budget give"
    said = [flag for flag in report.flags if flag.id == UNMEASURED.id]
    if said != list(unmeasured(report.budget, report.engine.backend, report.timing, report.target)):
        yield "flags: not the doubt about limits that could not be measured, which budget and target give"
    yield from _of_rows(report)


def _of_rows(report: VerifyReport) -> Iterator[str]:
    """Doubts that the rows show are there, and no other of the kind that nothing but the rows shows.

    A probe of the engine may find, as rows do, that queries go further: where the rows do not, its word counts.
    """
    follow = flags_of_rows(report.rows, report.clean_acc.hits)
    kinds = {*(flag.id for flag in follow), NOISE_FOOLS.id}
    if {flag.id: flag for flag in report.flags if flag.id in kinds} != {flag.id: flag for flag in follow}:
        yield "flags: not the doubts that the rows raise"


def _is_known(flag: Flag) -> bool:
    """Whether words can be made of it."""
    try:
        KINDS[flag.id].words.format(**flag.facts)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError):
        return False
    return True


def _notices(report: VerifyReport) -> Iterator[str]:
    """Only the bundle tells its own radius: here it is as the notice has it."""
    said = [each for each in report.notices if each.id not in ABOUT_ATTACKS]
    of_bundle = report.threat_model.eps
    for each in said:
        if each.id == NEARER.id:
            try:
                of_bundle = Radius(str(each.facts.get("bundle")))
            except ConfigError:
                yield "notices: the bundle's radius is none"
                return
    eps, engine = report.threat_model.eps, report.engine
    follow = notices_of(report.samples, eps=eps, of_bundle=of_bundle, engine=engine, log=report.build)
    attacks = [each for each in report.notices if each.id in ABOUT_ATTACKS]
    if list(report.notices) != [*attacks, *follow]:
        yield "notices: not those that samples, threat_model and engine give"


def _asked(report: VerifyReport) -> Iterator[str]:
    """What the verifier asked counts, and what others ask of an accuracy is above chance."""
    requirement, made = report.requirement, report.made
    if made is None:
        yield "made: it is not said when and with what this was made"
        return
    if not requirement.gates and not report.gates:  # figures alone
        return
    own = made.asked.gates
    budget = made.asked.budget not in (Budget(), requirement.budget)
    if budget or any(requirement.gates.get(name) != value for name, value in own.items()):
        yield "requirement: not what the verifier asked (made.asked)"
    floor = report.plain.floor
    low = [name for name in ("clean_acc", "robust_acc") if requirement.gates.get(name, 1.0) < floor - ROUNDING]
    if any(name not in own for name in low):
        yield "requirement: below what always answering the commonest class reaches, and the verifier did not ask it"


def _machine(report: VerifyReport) -> Iterator[str]:
    """When, in what power mode, and on what."""
    made, target, engine = report.made, report.target, report.engine
    if made is not None:
        if made.power_mode != report.timing.after.power_mode:
            yield "made.power_mode: not that of timing.after"
        try:
            utc = datetime.fromisoformat(made.time).utcoffset() == timedelta(0)
        except ValueError:
            utc = False
        if not utc:
            yield f"made.time: {made.time} is no time in UTC"
    if target is not None and target.reached:
        if target.backend != engine.backend:
            yield f"target.reached: the device's backend is {target.backend}, and the engine's {engine.backend}"
        if None not in (target.sms, found := engine.device.multiprocessors) and target.sms != found:
            yield f"target.reached: the device has {target.sms} multiprocessors, and {found} were there"
    memory = report.engine_memory
    if memory is None or memory.batch != 1 or memory.gpu != (engine.device.kind == "gpu"):
        yield "engine_memory: not there, not of one image, or not where the engine runs"
    names = [each.backend for each in report.skipped]
    if engine.backend in names or len(set(names)) != len(names):
        yield "skipped: names the backend that was used, or one twice"
