"""Attack a network on the host."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from edgerkd.attacks.battery import BATTERY, run_battery
from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.evaluation import Evaluation, Row
from edgerkd.core.progress import Progress
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.dataset import Split, to_float
from edgerkd.data.load import load_dataset
from edgerkd.files.atomic import write_atomic
from edgerkd.files.decode import decode_json, encode_json
from edgerkd.models.classifier import TorchClassifier
from edgerkd.models.cost import count_cost
from edgerkd.models.hardware import compute_device
from edgerkd.models.network import Network
from edgerkd.models.store import load_network

SCHEMA = 1
BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """An evaluation with the images behind it, all on the CPU; see bundle/replay.py for the shapes."""

    evaluation: Evaluation
    images: NDArray[np.float32]
    images_adv: NDArray[np.float32]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    logits_adv: NDArray[np.float32]
    robust: NDArray[np.bool_]


def attack_network(
    network: Network, split: Split, *, name: str, where: str, threat_model: ThreatModel, seed: int, progress: Progress
) -> Attacked:
    """Clean accuracy and every attack of the battery, in float32, on the whole of `split` (named `where`).

    `images_adv` holds per image an example that fools the network where an attack found one, else the
    first attack's attempt.
    """
    device = compute_device()
    network = network.to(device).eval().requires_grad_(False)
    classifier = TorchClassifier(network)
    split = split.to(device)
    images, n = to_float(split.images), len(split)
    with progress.stage(f"attacking {name}", n * len(BATTERY)) as advance:
        logits = torch.cat([classifier.logits(part) for part in images.split(BATCH)])
        clean = logits.argmax(1) == split.labels
        outcomes = list(
            run_battery(
                classifier, images, split.labels, threat_model=threat_model, seed=seed, batch=BATCH, after=advance
            )
        )
    images_adv, logits_adv, robust = outcomes[0].images_adv, outcomes[0].logits, clean & outcomes[0].resisted
    for outcome in outcomes[1:]:
        newly = (robust & ~outcome.resisted)[:, None]
        images_adv = torch.where(newly[:, :, None, None], outcome.images_adv, images_adv)
        logits_adv = torch.where(newly, outcome.logits, logits_adv)
        robust = robust & outcome.resisted
    architecture = network.architecture
    evaluation = Evaluation(
        schema=SCHEMA,
        name=name,
        architecture=architecture,
        cost=count_cost(architecture)[0],
        split=where,
        n=n,
        clean_acc=accuracy_from_correct(clean.tolist()),
        robust_acc=accuracy_from_correct(robust.tolist()),
        rows=tuple(
            Row(attack=o.name, source="direct", robust_acc=accuracy_from_correct((clean & o.resisted).tolist()))
            for o in outcomes
        ),
        flags=(),
        threat_model=threat_model,
        seed=seed,
    )
    return Attacked(
        evaluation=evaluation,
        images=_numpy(images),
        images_adv=_numpy(images_adv),
        labels=split.labels.cpu().numpy(),
        logits=logits.cpu().numpy(),
        logits_adv=logits_adv.cpu().numpy(),
        robust=robust.cpu().numpy(),
    )


def evaluate_run(run: RunFolder, *, eps: Radius | None, n: int | None, seed: int, progress: Progress) -> Evaluation:
    """Attack a run's student on its test split, all of it or the first `n` images, and write evaluation.json."""
    record = decode_json(RunRecord, run.recipe)
    threat_model = record.recipe.threat_model if eps is None else replace(record.recipe.threat_model, eps=eps)
    test = load_dataset(record.data).test
    evaluation = attack_network(
        load_network(run.student),
        test if n is None else test.head(n),
        name="student",
        where="test",
        threat_model=threat_model,
        seed=seed,
        progress=progress,
    ).evaluation
    write_atomic(run.evaluation, encode_json(evaluation))
    return evaluation


def _numpy(images: torch.Tensor) -> NDArray[np.float32]:
    return images.contiguous().cpu().numpy()
