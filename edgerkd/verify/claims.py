"""What a bundle says of itself, held against what lies in it: figures that do not fit are refused, not reported."""

import numpy as np

from edgerkd.bundle.read import Bundle
from edgerkd.bundle.samples import StoredSamples
from edgerkd.core.accuracy import Accuracy
from edgerkd.core.errors import ArtefactError, EngineError, MissingDependencyError, problems_text
from edgerkd.core.variant import PARITY, Variant
from edgerkd.files.onnx_frame import count_weights
from edgerkd.files.paths import GRAPH_LIMIT, read_file, shown
from edgerkd.verify.isolated import SlowError, open_isolated
from edgerkd.verify.layers import seen_cost
from edgerkd.verify.one_network import host_problems

_LEAST = 1 / 3
"""Of the numbers in a float32 graph, the share that must be claimed as parameters. Ours: what is no weight there are
statistics of batch norms, the normalization's, and tables. Twenty networks have 1.0, a small Swin V2 has 0.63."""


def check_claims(bundle: Bundle, variant: Variant, samples: StoredSamples) -> None:
    """Whether what is claimed fits the files, the bundle's `samples` among them, as far as these tell.

    A variant that says int8 must have quantisers: slopes are judged less strictly where an engine rounds. The host's
    accuracies must be those of its stored answers. Parameters, multiply-adds and memory must not be less than what the
    float32 graph has and does, whose multiply-adds were those claimed, to the last, of fourteen families of networks;
    nor less than what the variant's own does. The float32 graph must give the answers that are stored for it. What the
    teacher reached cannot be told from a bundle. Raises ArtefactError with all that does not fit.
    """
    problems = [
        *_precision(bundle, variant),
        *_limits(variant),
        *_costs(bundle, variant),
        *_accuracies(bundle, variant, samples),
        *host_problems(bundle, variant, samples),
    ]
    if problems:
        raise ArtefactError(problems_text(shown(bundle.path), problems))


def _precision(bundle: Bundle, variant: Variant) -> list[str]:
    """The operator's name is looked for among the bytes, for a device has no library that reads graphs."""
    if variant.precision != "int8" or b"QuantizeLinear" in _graph(bundle, variant):
        return []
    return [f"variant {variant.name} says that it is int8, and nothing in it is quantised"]


def _limits(variant: Variant) -> list[str]:
    """A bundle may ask for more, not for less: any network is within limits that are wide enough."""
    share, usual = variant.parity.logit_share, PARITY[variant.precision].logit_share
    if share <= usual:
        return []
    return [
        f"logits of {variant.name} may differ by {share:g} of the largest, and {usual:g} is the most for its precision"
    ]


def _costs(bundle: Bundle, variant: Variant) -> list[str]:
    """Of the float32 graph, or else of the variant's own, in which less may be seen: int8 weights are not counted."""
    host = bundle.manifest.host
    found = [] if host is None else _costs_of(bundle, host)
    return found if found or variant == host else _costs_of(bundle, variant)


def _costs_of(bundle: Bundle, variant: Variant) -> list[str]:
    """Raises ArtefactError, with the file's name, for a damaged graph."""
    try:
        return _graph_costs(bundle, variant)
    except ArtefactError as e:
        raise ArtefactError(f"{shown(bundle.path / variant.graph)}: {e}") from e


def _graph_costs(bundle: Bundle, variant: Variant) -> list[str]:
    """Held against a graph: its weights as its file has them, the rest as ONNX Runtime runs it, if it can."""
    cost, graph = bundle.manifest.model.cost, _graph(bundle, variant)
    weights = count_weights(graph)
    claimed = {"parameters": cost.params, "multiply-adds": cost.macs, "bytes of peak memory": cost.peak_bytes // 4}
    found = [
        f"{value:,} {name} are claimed, and {variant.graph} has {weights:,} weights"
        for name, value in claimed.items()
        if value < _LEAST * weights
    ]
    if found:
        return found
    try:
        seen = seen_cost(graph, open_isolated, bundle.manifest.model.image_shape)
    except SlowError:  # it would be as slow as an engine
        raise
    except (MissingDependencyError, EngineError):  # no ONNX Runtime here, or a graph that it does not run
        return []
    least = {"parameters": seen.weights, "multiply-adds": seen.macs, "bytes of peak memory": seen.least_bytes}
    claimed["bytes of peak memory"] = cost.peak_bytes
    return [
        f"{claimed[name]:,} {name} are claimed, and {variant.graph} was seen to need {value:,}"
        for name, value in least.items()
        if claimed[name] < value
    ]


def _accuracies(bundle: Bundle, variant: Variant, samples: StoredSamples) -> list[str]:
    """The float32 model's answers to the samples are stored, and so is what it resisted.

    Of several float32 variants it is the one that is verified.
    """
    host = variant if variant.precision == "fp32" else bundle.manifest.host
    reference, asked = bundle.manifest.reference, bundle.manifest.requirement
    if asked is not None and asked.min_retention is not None and samples.host_robust is None:
        return ["retention is asked for, and what the host resisted is not stored"]
    if host is None or reference is None:
        return []
    if samples.host_robust is None:
        return ["the host's robust accuracy is claimed, and what it resisted is not stored"]
    answers = bundle.reference(host, samples)
    found = {
        "clean": (reference.clean_acc, answers.logits.argmax(1) == samples.labels),
        "robust": (reference.robust_acc, samples.host_robust),
    }
    return [
        f"{claimed.value:.2%} {name} accuracy is claimed of the host, and its stored answers have {held.mean():.2%}"
        for name, (claimed, held) in found.items()
        if not _same(claimed, held)
    ]


def _same(claimed: Accuracy, held: np.ndarray) -> bool:
    return claimed.n == len(held) and claimed.hits == int(held.sum())


def _graph(bundle: Bundle, variant: Variant) -> bytes:
    return read_file(bundle.path / variant.graph, limit=GRAPH_LIMIT, error=ArtefactError)
