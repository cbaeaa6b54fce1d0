"""`edgerkd evaluate MODEL`: attack a network of the user's own on the host, as a run's student is attacked."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgerkd.attacks.suite import attacks_of
from edgerkd.core.data_request import DataRequest
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.model_request import ModelRequest
from edgerkd.core.progress import Progress
from edgerkd.data.dataset import Split
from edgerkd.data.samples import Samples
from edgerkd.files.atomic import check_writable, write_atomic
from edgerkd.files.decode import encode_json
from edgerkd.files.replaceable import EVALUATION, check_replaceable
from edgerkd.jobs.adopt import check_source
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.bundle import judge_inputs, threat_model_of
from edgerkd.jobs.evaluate import Request
from edgerkd.models.graph_network import graph_network


def evaluate_model(
    model: ModelRequest,
    data: DataRequest,
    request: Request,
    *,
    out: Path | None,
    progress: Progress,
    show: Callable[[Evaluation], None] = lambda found: None,
) -> Evaluation:
    """Attack the model on images drawn from the data, show the result, and write it to `out` if that is given.

    Without a radius the customary one is taken. Raises as `judge_inputs` does, and ExportError for a graph without a
    gradient twin.
    """
    if out is not None:
        check_replaceable(out, EVALUATION, "--out")
        check_writable(out)
    attacks_of(request.attack)  # a wrong name should not wait for the work before it
    check_source(model)
    n = sys.maxsize if request.n is None else request.n
    judged = judge_inputs(model, data, n=n, seed=request.seed, progress=progress)
    norm = request.norm or "Linf"
    threat_model = threat_model_of(data, judged, eps=request.eps, norm=norm, progress=progress)
    assert judged.data.test is not None
    found = attack_network(
        graph_network(judged.model.graph),
        _split(judged.drawn),
        name=model.name,
        split="test",
        of=len(judged.data.test),
        class_names=judged.class_names,
        threat_model=threat_model,
        seed=request.seed,
        progress=progress,
        attack=request.attack,
        probe=True,
        eot=request.eot,
    ).evaluation
    try:
        show(found)
    finally:
        if out is not None:
            write_atomic(out, encode_json(found))
    return found


def _split(drawn: Samples) -> Split:
    return Split(
        pixels=torch.from_numpy(drawn.images),
        rows=torch.arange(len(drawn)),
        labels=torch.from_numpy(drawn.labels),
        index=np.arange(len(drawn)),
    )
