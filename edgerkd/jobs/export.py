"""`edgerkd export`: a run's student to a bundle, and to an engine where one can be built here."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edgerkd.bundle.plugins import load_exporter, load_runtime
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.replay import ReplaySet
from edgerkd.bundle.write import write_bundle
from edgerkd.core.errors import MissingDependencyError, ParityError
from edgerkd.core.manifest import HostResult, Manifest
from edgerkd.core.progress import Progress
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.files.atomic import check_writable
from edgerkd.files.decode import decode_json
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.distill import load_inputs
from edgerkd.jobs.versions import host_versions
from edgerkd.models.onnx_graph import OPSET, onnx_from_network
from edgerkd.models.store import load_network
from edgerkd.verify.build import build_engine
from edgerkd.verify.parity import parity_of

REPLAY_IMAGES = 500  # at most; enough for an interval of 4 points either way, and 12 MB of CIFAR-10
PRECISION = "fp32"


def export(run: RunFolder, *, exporter_name: str, progress: Progress) -> tuple[Bundle, str]:
    """Write the run's bundle, and the engine where `exporter_name` works here.

    Returns the bundle and one line on the engine. Raises UnknownNameError for an exporter that is not
    known, ArtefactError for a damaged student, ExportError for a network without a gradient twin,
    ParityError where the exported graph is not the student.
    """
    exporter = load_exporter(exporter_name)
    check_writable(run.path / "bundle.json")
    record = decode_json(RunRecord, run.recipe)
    student = load_network(run.trained)
    dataset, teacher = load_inputs(run, record, progress=progress)
    images = dataset.test.sample(REPLAY_IMAGES, seed=record.recipe.seed)
    attacked, reference = (
        attack_network(
            network,
            images,
            name=name,
            split="test",
            of=len(dataset.test),
            class_names=dataset.class_names,
            threat_model=record.recipe.threat_model,
            seed=record.recipe.seed,
            progress=progress,
        )
        for name, network in (("student", student), ("teacher", teacher))
    )
    graph = onnx_from_network(student)
    evaluation, taught = attacked.evaluation, reference.evaluation
    manifest = Manifest(
        name=run.path.resolve().name,
        dataset=record.data.name,
        classes=record.data.classes,
        preprocessing=record.data.preprocessing,
        precision=PRECISION,
        opset=OPSET,
        architecture=record.architecture,
        cost=record.cost,
        threat_model=evaluation.threat_model,
        profile=record.profile,
        host=HostResult(
            clean_acc=evaluation.clean_acc,
            robust_acc=evaluation.robust_acc,
            teacher_clean_acc=taught.clean_acc,
            teacher_robust_acc=taught.robust_acc,
            attack=", ".join(row.attack for row in evaluation.rows),
        ),
        versions=host_versions(),
    )
    twin = gradient_twin(graph)
    check_graph(graph, attacked.replay)
    write_bundle(run.bundle, student=graph, twin=twin, replay=attacked.replay, manifest=manifest)
    bundle = read_bundle(run.bundle)
    try:
        exporter.check()
    except MissingDependencyError as e:
        return bundle, f"the {exporter_name} engine will be built on the device, by `edgerkd verify` there ({e})"
    built = build_engine(bundle, exporter_name, run.engines)
    return bundle, f"engine: {built.student}"


def check_graph(graph: bytes, replay: ReplaySet) -> None:
    """Run the exported graph on clean and adversarial images. Raises ParityError where it is not the student."""
    images = np.concatenate([replay.images, replay.images_adv])
    host = np.concatenate([replay.logits, replay.logits_adv])
    with TemporaryDirectory() as folder:
        file = Path(folder) / "student.onnx"
        file.write_bytes(graph)
        with load_runtime("onnxruntime").load(file) as engine:
            parts = [engine(images[i : i + 64])[0] for i in range(0, len(images), 64)]
    logits: NDArray[np.float32] = np.concatenate(parts)
    parity = parity_of(logits, host, precision=PRECISION)
    if not parity.ok:
        raise ParityError(
            f"the exported graph differs from the student by up to {parity.max_abs_dlogit:.3g} "
            f"(limit {parity.limit:.3g}), agreement {parity.agreement:.2%}; the bundle there was is left as it is"
        )
