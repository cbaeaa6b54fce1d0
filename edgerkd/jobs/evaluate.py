"""Attack a network on the host."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from edgerkd.attacks.assess import assess_in_chunks
from edgerkd.attacks.hunt import Task
from edgerkd.attacks.suite import attacks_named
from edgerkd.core.evaluation import Evaluation
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
CHUNK = 256  # images attacked together: a chunk is what a stopped evaluation repeats


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
    network: Network,
    split: Split,
    *,
    name: str,
    where: str,
    threat_model: ThreatModel,
    seed: int,
    progress: Progress,
    attack: str = "pgd",
) -> Attacked:
    """Clean accuracy and the attacks that `attack` names, in float32, on the whole of `split` (named `where`).

    Each attack goes at the images that those before it left. Raises UnknownNameError.
    """
    device = compute_device()
    network = network.to(device).eval().requires_grad_(False)
    classifier = TorchClassifier(network)
    split = split.to(device)
    images, n = to_float(split.images), len(split)
    attacks, notices = attacks_named(attack, threat_model=threat_model, classes=network.architecture.classes)
    task = Task(images=images, labels=split.labels, threat_model=threat_model, seed=seed, index=np.arange(n))
    with progress.stage(f"attacking {name}", n * len(attacks)) as advance:
        found = assess_in_chunks(classifier, attacks, task, chunk=CHUNK, after=advance)
    images_adv = torch.from_numpy(found.images_adv).to(device)
    logits, logits_adv = (
        torch.cat([classifier.logits(part) for part in batch.split(CHUNK)]) for batch in (images, images_adv)
    )
    architecture = network.architecture
    evaluation = Evaluation(
        schema=SCHEMA,
        name=name,
        architecture=architecture,
        cost=count_cost(architecture)[0],
        split=where,
        n=n,
        clean_acc=found.clean_acc,
        robust_acc=found.robust_acc,
        rows=found.rows(attacks),
        flags=notices,
        threat_model=threat_model,
        seed=seed,
    )
    return Attacked(
        evaluation=evaluation,
        images=_numpy(images),
        images_adv=found.images_adv,
        labels=split.labels.cpu().numpy(),
        logits=logits.cpu().numpy(),
        logits_adv=logits_adv.cpu().numpy(),
        robust=found.robust,
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
