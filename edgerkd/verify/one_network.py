"""Whether the float32 model, whose robustness a variant's retention is a share of, is the network that is verified."""

from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.flag_kinds import OTHER_NETWORK
from edgerkd.bundle.backend import FloatArray
from edgerkd.bundle.read import Bundle
from edgerkd.bundle.samples import Reference, StoredSamples
from edgerkd.core.errors import EngineError, MissingDependencyError
from edgerkd.core.flag import Flag
from edgerkd.core.precision import Precision
from edgerkd.core.variant import PARITY, Variant
from edgerkd.files.paths import GRAPH_LIMIT, read_file
from edgerkd.verify.graph import engine_logits
from edgerkd.verify.isolated import open_isolated
from edgerkd.verify.parity import parity_of

EXPLAINED: dict[Precision, float] = {"fp16": 0.01, "int8": 0.05}
"""Of the size of all logits, each image's less their mean, what a variant's may differ by. Ours: rounding made 0.0005
in fp16 and 0.009 to 0.018 in int8; two students of one recipe and other seeds are 0.41 apart. Students of the digits
and of CIFAR-10, by scripts by hand."""
TRAINED = 0.15
"""The same of a variant for which its model was trained on, by the bundle's word. Ours: 0.067 was measured, by hand."""
LEAP = 2.0
"""Times what logits may differ by, beyond which an image's answer is not another one by rounding: of the size of most
images' logits, for at the boundary between two classes an image's own are small. Ours."""
LEAPS = 0.01
"""Share of the images, clean and adversarial, of which that may be so. Ours: it was so of none."""


def network_doubts(bundle: Bundle, variant: Variant, reference: Reference, samples: StoredSamples) -> tuple[Flag, ...]:
    """A doubt where the variant is not what rounding, or training for it, leaves of the float32 model.

    Nothing is retained, and nothing doubted, of a model that was not attacked. Engine and float32 graph are held
    against what is stored for each, by parity and by `host_problems`.
    """
    host = bundle.manifest.host
    if host is None or variant.precision == "fp32" or samples.host_robust is None:
        return ()
    own, model = (_all(each) for each in (reference, bundle.reference(host, samples)))
    limit, n = explained(variant), len(own)
    difference, leaps = apart(own, model, limit)
    if difference <= limit and leaps <= LEAPS * n:
        return ()
    facts = {"variant": variant.name, "precision": variant.precision}
    return (OTHER_NETWORK.raised(**facts, difference=difference, limit=limit, leaps=leaps, n=n),)


def explained(variant: Variant) -> float:
    """How far its logits may be from the float32 model's."""
    trained = variant.search is not None and variant.search.trained_epochs > 0
    return TRAINED if trained else EXPLAINED[variant.precision]


def apart(logits: FloatArray, model: FloatArray, limit: float) -> tuple[float, int]:
    """How far logits (n, k) are from a model's, as a share of its size, and how many answers leap.

    A leap is another answer where the logits differ by far more than the `limit` of that share.
    """
    own, theirs = (_centred(each) for each in (logits, model))
    change, size = (np.square(each).sum(1) for each in (own - theirs, theirs))
    far = np.sqrt(change) > LEAP * limit * np.sqrt(np.median(size))
    leaps = int((far & (own.argmax(1) != theirs.argmax(1))).sum())
    return float(np.sqrt(change.sum() / max(size.sum(), np.finfo(np.float64).tiny))), leaps


def _centred(logits: FloatArray) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    return wide - wide.mean(1, keepdims=True)


def host_problems(bundle: Bundle, variant: Variant, samples: StoredSamples) -> list[str]:
    """Where the float32 graph, run here, does not give the answers that are stored for it.

    What is verified by itself has parity for that. Nothing is known where no ONNX Runtime is here, or it does not open
    the graph.
    """
    host = bundle.manifest.host
    if host is None or variant == host:
        return []
    stored = bundle.reference(host, samples)
    shown = [samples.floats] if samples.images_adv is None else [samples.floats, samples.images_adv]
    with ExitStack() as stack:
        try:
            graph = read_file(bundle.path / host.graph, limit=GRAPH_LIMIT)
            engine = stack.enter_context(open_isolated(graph, name=host.graph))
        except (MissingDependencyError, EngineError):
            return []
        try:
            logits = np.concatenate([engine_logits(engine, images) for images in shown])
        except (EngineError, ValueError) as e:
            return [f"{host.graph} does not answer the images that are stored with it: {e}"]
    expected = _all(stored)
    if logits.shape != expected.shape:
        return [f"{host.graph} gives logits of the shape {logits.shape}, and {expected.shape} are stored"]
    found = parity_of(logits, expected, limits=PARITY["fp32"])
    if found.ok:
        return []
    return [
        f"{host.graph} does not give the answers that are stored for it: logits are up to {found.max_abs_dlogit:.2g} "
        f"apart, and {found.limit:.2g} is allowed"
    ]


def _all(reference: Reference) -> FloatArray:
    """Clean and adversarial."""
    adv = reference.logits_adv
    return reference.logits if adv is None else np.concatenate([reference.logits, adv])
