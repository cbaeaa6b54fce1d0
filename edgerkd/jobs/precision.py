"""The variants of a model in fp16 and int8: made, searched for, and attacked on the host."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.assess import Outcomes
from edgerkd.attacks.attack import Attack
from edgerkd.attacks.replay import transferred
from edgerkd.bundle.backend import Backend
from edgerkd.bundle.samples import StoredSamples
from edgerkd.bundle.write import MadeVariant, make_variant
from edgerkd.core.errors import ArtefactError, ConfigError, DivergedError, ExportError
from edgerkd.core.precision import (
    RETENTION,
    RETENTION_LOW,
    Placement,
    Precision,
    Precisions,
    PrecisionSearch,
    Retention,
)
from edgerkd.core.profile import Device, Profile
from edgerkd.core.progress import Progress
from edgerkd.core.sequential import Tally, bounds, images_needed, surely_reached
from edgerkd.core.threat import ThreatModel
from edgerkd.graphs.precision.fp16 import halved, overflowing, widened
from edgerkd.graphs.precision.int8 import Rounding, layers, quantized, rounding_of
from edgerkd.graphs.precision.ranges import Range, find_ranges
from edgerkd.graphs.precision.search import Ranking, margins_of, rank_layers
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.graph_attack import attack_graph
from edgerkd.report.words import search_name, search_words
from edgerkd.verify.graph import graph_logits, reference_of_graph

PLACEMENTS: tuple[Placement, ...] = ("signed", "unsigned")
Retrain = Callable[[bytes, Rounding], tuple[bytes, int]]
"""From a model's graph and what int8 rounds of it: the graph of one trained to bear that, and for how many epochs."""
ATTACKED = 3  # graphs of one placement, each with more layers in float32 than the last, before int8 is given up; ours


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatModel:
    """A model in float32, with what its variants are measured by.

    `calibration` float32 (n, c, h, w) are images other than `samples`. `attacks` are those whose outcomes `samples`
    hold, if anything was attacked. `retrain` is None for a model that is here as a graph alone. Unless `in_full`, an
    attack on a variant ends where too much is lost for it to be chosen.
    """

    graph: bytes
    samples: StoredSamples
    calibration: NDArray[np.float32]
    attacks: tuple[Attack, ...]
    threat_model: ThreatModel
    seed: int
    retrain: Retrain | None = None
    in_full: bool = True


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


def faster_precisions(device: Device) -> tuple[Precision, ...]:
    """The precisions that a device is known to compute faster than float32, the fastest first."""
    rates: list[tuple[float, Precision]] = [(device.int8_tops or 0, "int8"), (device.fp16_tflops or 0, "fp16")]
    return tuple(name for rate, name in sorted(rates, reverse=True) if rate > (device.fp32_tflops or 0))


def try_precision(
    model: FloatModel, precision: Precision, *, placements: Sequence[Placement] = PLACEMENTS, progress: Progress
) -> list[Tried]:
    """The graphs of fp16 or int8, the latter in these placements, attacked where the host attacked the model.

    Raises ExportError where the graph has nothing to change, or its opset is too old.
    """
    seen = [model.calibration]
    if precision == "fp16" and model.samples.images_adv is not None:
        seen.append(np.asarray(model.samples.images_adv))  # which may overflow where clean images do not
    with progress.stage(f"{precision}: ranges of {sum(map(len, seen)):,} images", 0):
        ranges = find_ranges(model.graph, seen)
    if precision == "fp16":
        return [_half(model, ranges, progress)]
    return [_int8(model, ranges, placement, progress) for placement in placements]


def _half(model: FloatModel, ranges: dict[str, Range], progress: Progress) -> Tried:
    kept = overflowing(model.graph, ranges)
    for name in kept:
        progress.say(f"fp16: {name!r} would overflow, and stays in float32")
    graph = halved(model.graph, keep=kept)
    search = PrecisionSearch(precision="fp16", placement=None, float_layers=kept)
    return attacked(model, Tried(graph=graph, twin=gradient_twin(widened(graph)), search=search), progress)


def _int8(model: FloatModel, ranges: dict[str, Range], placement: Placement, progress: Progress) -> Tried:
    """With the fewest layers in float32 with which robustness is forecast to hold, if an attack agrees.

    Where the attack has shown that it does not, or half of the layers would stay in float32, which gains little speed,
    the model is trained to bear what is rounded, if it can be trained; or else twice as many layers stay, in three
    attempts at most, and never more than half. Of graphs that all lose too much it is the one that keeps most.
    """
    every = layers(model.graph)
    ranking, seconds = _ranked(model, ranges, placement, progress)
    search = PrecisionSearch(precision="int8", placement=placement, float_layers=_classifier(every))
    if ranking is not None:
        search = replace(search, shifts=ranking.shifts, seconds=seconds)
    tried = _quantised(model, ranges, search, ranking, progress)
    found = [tried]
    half = len(every) // 2
    if model.retrain is not None and (_falls_short(tried) or len(tried.search.float_layers) >= max(2, half)):
        found.append(_retrained(model, model.retrain, ranges, tried, progress))
    for _ in range(1, ATTACKED):
        enough = any(each.search.holds for each in found) or len(tried.search.float_layers) >= half
        if ranking is None or enough or not _may_improve(tried):
            break
        tried = _quantised(model, ranges, tried.search, ranking, progress)
        found.append(tried)
    return max(reversed(found), key=_worth)


def _worth(tried: Tried) -> tuple[bool, float]:
    """The better, the larger: of graphs that hold the one with the fewest layers in float32."""
    search = tried.search
    if search.holds:
        return True, -len(search.float_layers)
    return False, 0.0 if search.retention is None else search.retention.value


def _classifier(every: tuple[str, ...]) -> tuple[str, ...]:
    """What stays in float32 in any case: the last layer, which gives the logits, where it is not the only one."""
    return every[-1:] if len(every) > 1 else ()


def _may_improve(tried: Tried) -> bool:
    """Whether robustness was lost that more layers in float32 may keep."""
    found = tried.search.retention
    return found is not None and not found.holds and (_falls_short(tried) or allowed_loss(found.n) is not None)


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
    except (ArtefactError, ExportError, DivergedError) as e:  # the first: an earlier version's recipe
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
        least, allowed = len(search.float_layers) * (1 if search.retention is None else 2), allowed_loss(ranking.n)
        kept, steps = ranking.choose(least, allowed=1 - RETENTION if allowed is None else allowed)
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
    """With the retention that the model's `attacks` leave, made anew against this graph.

    First it is shown what fooled the model, as `verify` will show it: rounding hides gradients a little, and by PGD
    alone a graph kept 100.6 % of the robust images of which it lost 1.8 %. Images that the model resists by the
    smallest margin come first, and are the first to be lost.
    """
    samples, search = model.samples, tried.search
    if samples.host_robust is None or samples.images_adv is None:
        return tried
    started = time.perf_counter()
    order = np.argsort(margins_of(graph_logits(model.graph, samples.images_adv), samples.labels))
    held = samples.host_robust[order]

    def kept(found: Outcomes) -> NDArray[np.bool_]:
        return np.concatenate([found.robust, np.ones(len(order) - len(found.robust), np.bool_)])

    outcomes = attack_graph(
        tried.graph,
        tried.twin,
        samples,
        (transferred(samples.images_adv, "fp32"), *model.attacks),
        model.threat_model,
        seed=model.seed,
        name=search_name(search),
        progress=progress,
        order=order,
        enough=lambda found: not model.in_full and kept(found).sum() < RETENTION * held.sum(),
    )
    seconds = search.attack_seconds + time.perf_counter() - started
    retention = replace(retention_of(kept(outcomes), held), at_most=len(outcomes.robust) < len(order))
    search = replace(search, retention=retention, attack_seconds=seconds)
    progress.say(search_words(search))
    return replace(tried, search=search)


def retention_of(own: NDArray[np.bool_], held: NDArray[np.bool_]) -> Retention:
    """Of images that a variant resists on (n,), and that the float32 model does."""
    pairs = Tally(int((own & held).sum()), int((own & ~held).sum()), int((held & ~own).sum()), paired=True)
    n, (low, high) = int(held.sum()), bounds(pairs)
    found = Retention(n=n, value=pairs.value, low=low, high=high)
    if found.holds or found.value < RETENTION:
        return found
    return replace(found, settled_by=images_needed(pairs, n, RETENTION_LOW))


def allowed_loss(n: int) -> float | None:
    """The largest share of n robust images that a variant may lose and be chosen; None where n are too few to say."""
    lost = int(n * (1 - RETENTION))
    while not surely_reached(Tally(n - lost, 0, lost, paired=True), RETENTION_LOW):
        if not lost:
            return None
        lost -= 1
    return lost / n


def _why_not(tried: Tried) -> str:
    if _falls_short(tried):
        return "its robustness does not hold"
    return "too few images resist the attack to say that its robustness holds: take more with -n"


def _least() -> int:
    """How few robust images can show that robustness holds, if none is lost."""
    return next(n for n in count(1) if allowed_loss(n) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What goes into a bundle beside float32, the best first; and the searches that led nowhere."""

    tried: tuple[Tried, ...] = ()
    rejected: tuple[PrecisionSearch, ...] = ()


def check_precision(asked: Precisions, backend: Backend, devices: Sequence[Profile], progress: Progress) -> None:
    """Raises ConfigError for int8 on a backend that runs none; says where a device is not known to gain anything."""
    if asked == "int8" and backend.placement is None:
        raise ConfigError(
            f"--precision int8: the backend {backend.name} runs no int8 graph of edgerkd's. Take --precision fp16, or "
            "--format with one that does, such as onnx, openvino or trt."
        )
    if asked in ("fp16", "int8"):
        for each in devices:
            if asked not in (faster := faster_precisions(each.device)):
                known = f": {' and '.join(faster)} {'is' if len(faster) == 1 else 'are'}" if faster else ""
                known = known or ", nor in any other precision"
                progress.say(f"note: {each.name} is not known to be faster in {asked}{known}")


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
    model, held = replace(model, in_full=False), model.samples.host_robust
    if faster and held is not None and (robust := int(held.sum())) < (least := _least()):
        progress.say(
            f"{' and '.join(faster)}: not tried, for {robust} of {len(held)} images resist the attack in float32, and "
            f"fewer than {least} cannot show that robustness holds: take more with -n"
        )
        return Chosen()
    for precision in faster if held is not None else ():
        if precision == "int8" and placement is None:
            continue
        own_first = sorted(PLACEMENTS, key=lambda each: each != placement)
        try:
            tried = try_precision(model, precision, placements=own_first[:1], progress=progress)
            if precision == "int8" and tried[0].search.holds:
                tried += try_precision(model, precision, placements=own_first[1:], progress=progress)
        except ExportError as e:
            progress.say(f"{precision} is not possible: {e}")
            continue
        rejected += [each.search for each in tried if not each.search.holds]
        if tried[0].search.holds:
            return Chosen(tried=tuple(each for each in tried if each.search.holds), rejected=tuple(rejected))
        progress.say(f"{precision} is not taken: {_why_not(tried[0])}")
    return Chosen(rejected=tuple(rejected))
