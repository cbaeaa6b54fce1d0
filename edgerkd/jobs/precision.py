"""The variants of a model in fp16 and int8: made, searched for, and attacked on the host."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.attack import Attack
from edgerkd.attacks.suite import attacks_of
from edgerkd.bundle.samples import StoredSamples
from edgerkd.bundle.write import MadeVariant, make_variant
from edgerkd.core.accuracy import wilson_interval
from edgerkd.core.errors import DivergedError, ExportError
from edgerkd.core.precision import (
    RETENTION,
    RETENTION_LOW,
    Placement,
    Precision,
    Precisions,
    PrecisionSearch,
    Retention,
)
from edgerkd.core.profile import Device
from edgerkd.core.progress import Progress
from edgerkd.core.threat import ThreatModel
from edgerkd.graphs.precision.fp16 import halved, overflowing, widened
from edgerkd.graphs.precision.int8 import Rounding, layers, quantized, rounding_of
from edgerkd.graphs.precision.ranges import Range, find_ranges
from edgerkd.graphs.precision.search import Ranking, rank_layers
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.graph_attack import attack_graph
from edgerkd.report.words import search_name, search_words
from edgerkd.verify.graph import graph_logits, reference_of_graph

PLACEMENTS: tuple[Placement, ...] = ("signed", "unsigned")
QUICK = "pgd"  # the attack of searches: the default one takes 15 times as long, and each search attacks several graphs
_MOST = 10_000  # robust images to ask for
_RESAMPLES = 2000
Retrain = Callable[[bytes, Rounding], tuple[bytes, int]]
"""From a model's graph and what int8 rounds of it: the graph of one trained to bear that, and for how many epochs."""
ATTACKED = 3  # graphs of one placement, each with more layers in float32 than the last, before int8 is given up; ours


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatModel:
    """A model in float32, with what its variants are measured by.

    `calibration` float32 (n, c, h, w) are images other than `samples`. `attacks` are those of QUICK, whose outcomes
    `samples` hold, if it attacked anything. `retrain` is None for a model that is here as a graph alone.
    """

    graph: bytes
    samples: StoredSamples
    calibration: NDArray[np.float32]
    attacks: tuple[Attack, ...]
    threat_model: ThreatModel
    seed: int
    retrain: Retrain | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A graph with its gradient twin, not in a bundle yet, and how it was found."""

    graph: bytes
    twin: bytes
    search: PrecisionSearch

    def variant(self, samples: StoredSamples) -> MadeVariant:
        """With what ONNX Runtime says that this very graph answers."""
        search = self.search
        return make_variant(
            search.precision,
            graph=self.graph,
            twin=self.twin,
            reference=reference_of_graph(self.graph, samples),
            placement=search.placement,
            search=search,
        )


def quickly_attacked(
    graph: bytes, twin: bytes, samples: StoredSamples, threat_model: ThreatModel, *, seed: int, progress: Progress
) -> StoredSamples:
    """The samples with what the float32 graph makes of the QUICK attack, by which its variants are then judged."""
    outcomes = attack_graph(
        graph,
        twin,
        samples,
        attacks_of(QUICK),
        threat_model,
        seed=seed,
        name="the float32 graph",
        progress=progress,
    )
    return replace(samples, images_adv=outcomes.images_adv, host_robust=outcomes.robust)


def faster_precisions(device: Device) -> tuple[Precision, ...]:
    """The precisions that a device is known to compute faster than float32, the fastest first."""
    rates: list[tuple[float, Precision]] = [(device.int8_tops or 0, "int8"), (device.fp16_tflops or 0, "fp16")]
    return tuple(name for rate, name in sorted(rates, reverse=True) if rate > (device.fp32_tflops or 0))


def try_precision(model: FloatModel, precision: Precision, *, progress: Progress) -> list[Tried]:
    """The graphs of fp16 or int8, the latter in both placements, attacked where the host attacked the model.

    Raises ExportError where the graph has nothing to change, or its opset is too old.
    """
    seen = [model.calibration]
    if precision == "fp16" and model.samples.images_adv is not None:
        seen.append(model.samples.images_adv)  # which may overflow where clean images do not
    with progress.stage(f"{precision}: ranges of {sum(map(len, seen)):,} images", 0):
        ranges = find_ranges(model.graph, seen)
    if precision == "fp16":
        return [_half(model, ranges, progress)]
    return [_int8(model, ranges, placement, progress) for placement in PLACEMENTS]


def _half(model: FloatModel, ranges: dict[str, Range], progress: Progress) -> Tried:
    kept = overflowing(model.graph, ranges)
    for name in kept:
        progress.say(f"fp16: {name!r} would overflow, and stays in float32")
    graph = halved(model.graph, keep=kept)
    search = PrecisionSearch(precision="fp16", placement=None, float_layers=kept)
    return attacked(model, Tried(graph=graph, twin=gradient_twin(widened(graph)), search=search), progress)


def _int8(model: FloatModel, ranges: dict[str, Range], placement: Placement, progress: Progress) -> Tried:
    """With the fewest layers in float32 with which robustness holds, in three attempts at most.

    Where none of them does, or most layers would stay in float32, which gains no speed, the model is trained to bear
    what is rounded, if it can be trained.
    """
    every = layers(model.graph)
    ranking, seconds = _ranked(model, ranges, placement, progress)
    search = PrecisionSearch(precision="int8", placement=placement, float_layers=_classifier(every))
    if ranking is not None:
        search = replace(search, shifts=ranking.shifts, seconds=seconds)
    tried = _quantised(model, ranges, search, ranking, progress)
    for _ in range(1, ATTACKED):
        if ranking is None or not _falls_short(tried) or 2 * len(tried.search.float_layers) >= len(every):
            break
        tried = _quantised(model, ranges, tried.search, ranking, progress)
    if model.retrain is None or not (_falls_short(tried) or 2 * len(tried.search.float_layers) > len(every)):
        return tried
    found = _retrained(model, model.retrain, ranges, tried, progress)
    return tried if tried.search.holds and not found.search.holds else found


def _classifier(every: tuple[str, ...]) -> tuple[str, ...]:
    """What stays in float32 in any case: the last layer, which gives the logits, where it is not the only one."""
    return every[-1:] if len(every) > 1 else ()


def _falls_short(tried: Tried) -> bool:
    """Whether an attack has shown that robustness does not hold, not only that there were too few images."""
    found = tried.search.retention
    return found is not None and not found.holds and found.settled_by is None


def _retrained(
    model: FloatModel, retrain: Retrain, ranges: dict[str, Range], tried: Tried, progress: Progress
) -> Tried:
    """The model trained on with all but its last layer in int8; `tried` where it cannot be."""
    search, started = tried.search, time.perf_counter()
    placement, kept = search.placement, _classifier(layers(model.graph))
    assert placement is not None
    rounding = rounding_of(model.graph, ranges, placement=placement, keep=kept)
    try:
        graph, epochs = retrain(model.graph, rounding)
    except (ExportError, DivergedError) as e:
        progress.say(f"{search_name(search)} cannot be trained: {e}")
        return tried
    trained = quantized(graph, find_ranges(graph, [model.calibration]), placement=placement, keep=kept)
    seconds = time.perf_counter() - started
    search = replace(search, float_layers=kept, trained_epochs=epochs, training_seconds=seconds)
    return attacked(model, Tried(graph=trained, twin=gradient_twin(trained), search=search), progress)


def _quantised(
    model: FloatModel, ranges: dict[str, Range], search: PrecisionSearch, ranking: Ranking | None, progress: Progress
) -> Tried:
    """One attempt: with the layers that the forecast asks for, but twice as many in float32 as an earlier one."""
    if ranking is not None:
        kept, steps = ranking.choose(len(search.float_layers) * (1 if search.retention is None else 2))
        search = replace(search, float_layers=kept, steps=(*search.steps, *steps))
    placement = search.placement
    assert placement is not None
    graph = quantized(model.graph, ranges, placement=placement, keep=search.float_layers)
    return attacked(model, Tried(graph=graph, twin=gradient_twin(graph), search=search), progress)


def _ranked(
    model: FloatModel, ranges: dict[str, Range], placement: Placement, progress: Progress
) -> tuple[Ranking | None, float]:
    """The layers ranked, and the seconds that took; None where there is no robust image, or but one layer."""
    held, images_adv = model.samples.host_robust, model.samples.images_adv
    if held is None or images_adv is None or not held.any() or len(layers(model.graph)) == 1:
        return None, 0.0
    started = time.perf_counter()
    with progress.stage(f"int8, {placement}: ranking layers", 0):
        ranking = rank_layers(
            model.graph,
            ranges,
            placement=placement,
            images_adv=images_adv[held],
            labels=model.samples.labels[held],
            answers=graph_logits,
        )
    return ranking, time.perf_counter() - started


def attacked(model: FloatModel, tried: Tried, progress: Progress) -> Tried:
    """With the retention that the model's `attacks` leave, made anew against this graph."""
    samples, search = model.samples, tried.search
    if samples.host_robust is None:
        return tried
    started = time.perf_counter()
    outcomes = attack_graph(
        tried.graph,
        tried.twin,
        samples,
        model.attacks,
        model.threat_model,
        seed=model.seed,
        name=search_name(search),
        progress=progress,
    )
    seconds = search.attack_seconds + time.perf_counter() - started
    retention = retention_of(outcomes.robust, samples.host_robust, seed=model.seed)
    search = replace(search, retention=retention, attack_seconds=seconds)
    progress.say(search_words(search))
    return replace(tried, search=search)


def retention_of(own: NDArray[np.bool_], held: NDArray[np.bool_], *, seed: int) -> Retention:
    """Of images that a variant resists on (n,), and that the float32 model does."""
    value, low, high = retention_interval(own, held, generator=np.random.default_rng(seed))
    found = Retention(n=int(held.sum()), value=value, low=low, high=high)
    return found if found.holds else replace(found, settled_by=_settled_by(found))


def _settled_by(found: Retention) -> int | None:
    """How many robust images would narrow the interval enough, at the share kept; None where that is too low."""
    if found.value < RETENTION:
        return None
    share = min(1.0, found.value)
    enough = (n for n in range(max(1, found.n), _MOST) if wilson_interval(round(share * n), n)[0] >= RETENTION_LOW)
    return next(enough, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What goes into a bundle beside float32, the best first; and the searches that led nowhere."""

    tried: tuple[Tried, ...] = ()
    rejected: tuple[PrecisionSearch, ...] = ()


def choose(
    model: FloatModel,
    asked: Precisions,
    *,
    faster: tuple[Precision, ...],
    placement: Placement | None,
    progress: Progress,
) -> Chosen:
    """The precision asked for, or with `auto` the first of the `faster` whose robustness holds.

    It is judged in the `placement` that the bundle's own backend takes; graphs for other backends come along, with
    `auto` where theirs holds too. A backend of no placement runs no int8 graph. Raises ExportError as `try_precision`
    does, but with `auto` only says why.
    """
    if asked == "fp32":
        return Chosen()
    if asked != "auto":
        return Chosen(tried=tuple(try_precision(model, asked, progress=progress)))
    rejected: list[PrecisionSearch] = []
    for precision in faster if model.samples.host_robust is not None else ():
        if precision == "int8" and placement is None:
            continue
        try:
            tried = try_precision(model, precision, progress=progress)
        except ExportError as e:
            progress.say(f"{precision} is not possible: {e}")
            continue
        kept = tuple(each for each in tried if each.search.holds)
        rejected += [each.search for each in tried if not each.search.holds]
        if any(each.search.placement in (None, placement) for each in kept):
            return Chosen(tried=kept, rejected=tuple(rejected))
        progress.say(f"{precision} is not taken: its robustness does not hold")
    return Chosen(rejected=tuple(rejected))


def retention_interval(
    engine: NDArray[np.bool_], host: NDArray[np.bool_], *, generator: np.random.Generator
) -> tuple[float, float, float]:
    """Robust accuracy of the engine over the host's on the same images, with a 95 % interval.

    Pairs are resampled together (bootstrap). Where the engine keeps every image the host kept, resampling
    sees no doubt at all; so the interval is never narrower than the score interval of the share kept.
    Where the host resists nothing there is nothing to retain: 0, 0, 1.
    """
    if not host.any():
        return 0.0, 0.0, 1.0
    rows = generator.integers(0, len(host), size=(_RESAMPLES, len(host)))
    ratios = engine[rows].sum(1) / np.maximum(host[rows].sum(1), 1)
    low, high = (float(value) for value in np.percentile(ratios, (2.5, 97.5)))
    least, most = wilson_interval(int((engine & host).sum()), int(host.sum()))
    return float(engine.sum() / host.sum()), min(low, least), max(high, most)
