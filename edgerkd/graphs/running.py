"""A graph run on the spot: by ONNX Runtime where it is installed, else by ONNX's own, slow, reference evaluator."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgerkd.core.errors import ConfigError
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.files.onnx_operators import check_operators
from edgerkd.graphs.values import Model

Run = Callable[[Sequence[Any]], list[Any]]


def runner(model: Model, *, where: str) -> Run:
    """A function from the graph's inputs, in order, to its outputs. It raises ConfigError where the graph fails.

    Raises ArtefactError for a graph with operators that no runtime is shown (`check_operators`).
    """
    names = [value.name for value in model.graph.input]
    run = _prepared(model, where)

    def answer(inputs: Sequence[Any]) -> list[Any]:
        try:
            return [np.asarray(output) for output in run(dict(zip(names, inputs, strict=True)))]
        except Exception as e:
            raise ConfigError(f"{where}: it cannot be run: {_reason(e)}") from e

    return answer


def _prepared(model: Model, where: str) -> Callable[[dict[str, Any]], Sequence[Any]]:
    content = model.SerializeToString()
    check_operators(content, where=where)
    try:
        ort = importlib.import_module("onnxruntime")
    except (ImportError, OSError):
        from onnx.reference import ReferenceEvaluator

        evaluator: Any = ReferenceEvaluator(model)  # Any: its types are loose
        return lambda inputs: evaluator.run(None, inputs)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # As written: an optimised graph is another one, and keeps no tensor that is looked at.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as e:
        raise ConfigError(f"{where}: it cannot be run by onnxruntime {ort.__version__}: {_reason(e)}") from e
    return lambda inputs: session.run(None, inputs)


def _reason(e: Exception) -> str:
    return printable(" ".join(str(e).split()), LONGEST_NAME)
