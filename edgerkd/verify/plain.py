"""The engine's plain accuracy, how it compares with the model's, and why it might not be the same."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks import flag_kinds as kinds
from edgerkd.bundle.backend import FloatArray
from edgerkd.bundle.image_rows import ImageRows
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.comparison import mcnemar_exact
from edgerkd.core.errors import EdgerkdError, EngineError, MissingDependencyError
from edgerkd.core.flag import Flag
from edgerkd.core.plain import ClassAnswers, LayerDifference, ModelComparison, PlainAnswer
from edgerkd.core.variant import PARITY, Variant
from edgerkd.files.paths import GRAPH_LIMIT, read_file
from edgerkd.verify.classifier import logits_of
from edgerkd.verify.graph import graph_logits
from edgerkd.verify.isolated import open_isolated
from edgerkd.verify.layers import PARTED, first_difference
from edgerkd.verify.parity import parity_of
from edgerkd.verify.session import Session

_LOOKED_AT = 8  # images, those on which engine and model differ most, that layers and inputs are compared on; ours
_CLEARER = 0.1  # of the difference that is left once the images are changed, for the change to explain it; ours


def ask(session: Session) -> PlainAnswer:
    """Accuracy on the judged images, class by class, beside the float32 model's, which ONNX Runtime answers for.

    Without ONNX Runtime, or a float32 graph in the bundle, the model's answers are not there. Raises EngineError where
    the engine fails.
    """
    samples, names = session.samples, session.bundle.manifest.model.classes
    images = samples.floats
    logits = logits_of(session.classifier, images)
    if logits.shape[1] != len(names):
        raise EngineError(f"the engine gives {logits.shape[1]} logits, and the model has {len(names)} classes")
    right = logits.argmax(1) == samples.labels
    host = session.bundle.manifest.host
    model = None if host is None else _model_logits(session, host, images, logits)
    model_right = None if model is None else model.argmax(1) == samples.labels
    classes = tuple(_by_class(names, samples.labels, right, model_right))
    causes: list[Flag] = []
    layer = comparison = None
    if model is None or host is None:
        causes.append(kinds.MODEL_UNKNOWN.raised(n=len(images)))
    else:
        assert model_right is not None
        comparison = _compared(right, model_right, logits, model)
        if not parity_of(logits, model, limits=PARITY["fp32"]).ok:
            causes += _causes(session, images, logits, model)
            layer = _layer(session, host, images, logits, model)
    return PlainAnswer(
        engine_acc=accuracy_from_correct(right.tolist()),
        classes=classes,
        model=comparison,
        causes=tuple(causes),
        layer=layer,
    )


def _model_logits(session: Session, host: Variant, images: ImageRows, own: FloatArray) -> FloatArray | None:
    """The float32 graph's answers: the engine's, where it is that very graph; None where nothing runs it here."""
    if session.facts.backend == "onnx" and session.facts.sha256 == session.bundle.manifest.files[host.graph].sha256:
        return own
    try:
        return graph_logits(_content(session, host.graph), images, opened=open_isolated)
    except MissingDependencyError:
        return None


def _compared(
    right: NDArray[np.bool_], model_right: NDArray[np.bool_], logits: FloatArray, model: FloatArray
) -> ModelComparison:
    alone, model_alone = int((right & ~model_right).sum()), int((model_right & ~right).sum())
    return ModelComparison(
        model_acc=accuracy_from_correct(model_right.tolist()),
        engine_alone=alone,
        model_alone=model_alone,
        same_answer=float((logits.argmax(1) == model.argmax(1)).mean()),
        chance=mcnemar_exact(alone, model_alone),
    )


def _by_class(
    names: tuple[str, ...],
    labels: NDArray[np.int64],
    right: NDArray[np.bool_],
    model_right: NDArray[np.bool_] | None,
) -> Iterable[ClassAnswers]:
    for number, name in enumerate(names):
        own = labels == number
        if own.any():
            yield ClassAnswers(
                name=name,
                engine_acc=accuracy_from_correct(right[own].tolist()),
                model_acc=None if model_right is None else accuracy_from_correct(model_right[own].tolist()),
            )


def _causes(session: Session, images: ImageRows, logits: FloatArray, model: FloatArray) -> list[Flag]:
    """What may explain that the engine's logits are not the model's: each with what was seen."""
    found: list[Flag] = []
    if session.facts.precision != "fp32":
        found.append(kinds.OTHER_PRECISION.raised(precision=session.facts.precision, variant=session.variant.name))
    if session.log.fallback is not None:
        found.append(kinds.OTHER_BUILD.raised(reason=session.log.fallback))
    found += [kinds.OTHER_BACKEND.raised(backend=each.backend, used=session.facts.backend) for each in session.skipped]
    if (way := _preprocessing(session, images, logits, model)) is not None:
        found.append(kinds.OTHER_INPUT.raised(way=way))
    return found


WAYS: dict[str, Callable[[Any], Any]] = {  # Any: of NumPy's types of shapes
    "with red and blue exchanged": lambda x: x[:, ::-1],
    "multiplied by 255": lambda x: x * 255,
    "divided by 255": lambda x: x / 255,
    "moved to -1 to 1": lambda x: x * 2 - 1,
    "moved from -1 to 1 to 0 to 1": lambda x: (x + 1) / 2,
    "with height and width exchanged": lambda x: x.transpose(0, 1, 3, 2),
    "inverted": lambda x: 1 - x,
}
"""Mistakes that are made before a network sees its images, and what undoes each. Ours."""


def _preprocessing(session: Session, images: ImageRows, logits: FloatArray, model: FloatArray) -> str | None:
    """The change of the images with which the engine answers as the model does without it; None for none of these."""
    rows = _furthest(logits, model)
    shown, expected = images[rows], model[rows]
    before = float(np.abs(logits[rows] - expected).max())
    for way, change in WAYS.items():
        changed = np.ascontiguousarray(change(shown), np.float32)
        if changed.shape != shown.shape or not np.any(changed != shown):
            continue
        try:
            answers = session.classifier.logits(changed)
        except EdgerkdError:  # values that no image has may overflow
            continue
        if float(np.abs(answers - expected).max()) < _CLEARER * before:
            return way
    return None


def _layer(
    session: Session, host: Variant, images: ImageRows, logits: FloatArray, model: FloatArray
) -> LayerDifference | None:
    """The first layer that is not the model's, where the engine is a graph whose tensors can be read."""
    if session.engine.suffix != ".onnx":
        return None
    graph = read_file(session.engine, limit=GRAPH_LIMIT)
    limit = PARTED[session.facts.precision]
    try:
        return first_difference(
            graph,
            _content(session, host.graph),
            partial(open_isolated, backend=session.facts.backend),
            open_isolated,
            images[_furthest(logits, model)],
            limit,
        )
    except EdgerkdError:  # a graph of other inputs, or a runtime that does not give them: then it is not known
        return None


def _furthest(logits: FloatArray, model: FloatArray) -> NDArray[np.int64]:
    """The rows on which the two differ most."""
    return np.argsort(-np.abs(logits - model).max(1))[:_LOOKED_AT]


def _content(session: Session, name: str) -> bytes:
    return read_file(session.bundle.path / name, limit=GRAPH_LIMIT)
