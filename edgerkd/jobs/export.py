"""`edgerkd export`: a run's student to a bundle, and to an engine where one can be built here."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgerkd.attacks.suite import DEFAULT, attacks_of
from edgerkd.bundle.keys import Signer, own_signer
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.write import make_variant, write_bundle
from edgerkd.core.errors import MissingDependencyError
from edgerkd.core.manifest import Manifest
from edgerkd.core.model_spec import UNKNOWN_LICENSE, ModelSpec
from edgerkd.core.precision import Precisions
from edgerkd.core.profile import Profile
from edgerkd.core.progress import Progress
from edgerkd.core.requirement import ReferenceResult
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.data.calibration import MOST as CALIBRATION
from edgerkd.data.dataset import Dataset, to_float
from edgerkd.distill.quantization_aware import EPOCHS, train_rounded
from edgerkd.files.atomic import check_writable
from edgerkd.files.decode import decode_json
from edgerkd.graphs.precision.int8 import Rounding
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.attack import Attacked, attack_network
from edgerkd.jobs.distill import load_inputs
from edgerkd.jobs.graph_parity import check_graph
from edgerkd.jobs.precision import FloatModel, choose, faster_precisions
from edgerkd.jobs.transfer import others
from edgerkd.jobs.versions import host_versions
from edgerkd.models.network import Network
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.models.store import load_network
from edgerkd.verify.build import build_engine

STORED_IMAGES = 500  # at most; enough for an interval of 4 points either way, and 8 MB of CIFAR-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A bundle, and the engine's file, or else why it will only be built on the device."""

    bundle: Bundle
    engine: str | None
    postponed: str | None


def export(
    run: RunFolder,
    *,
    format: str,
    precision: Precisions = "auto",
    profiles: tuple[Profile, ...] = (),
    license: str = UNKNOWN_LICENSE,
    transfer_from: tuple[str, ...] = (),
    signer: Signer | None = None,
    progress: Progress,
) -> Exported:
    """Write the run's bundle for the backend `format`, and its engine where that can build here.

    With `auto` the precision is the fastest on the profile's device whose robustness holds; float32 comes along. The
    bundle carries the requirements of the run's profile, then of further `profiles`, and adversarial images made
    against the teacher and against each run or model that `transfer_from` names. The `signer` signs it, or else the
    user's own key. Raises UnknownNameError for a backend that is not known, ArtefactError for a damaged student,
    ExportError for a network without a gradient twin or a precision that it cannot have, ParityError where the exported
    graph is not the student.
    """
    backend, signer = load_backend(format), signer or own_signer()
    check_writable(run.path / "bundle.json")
    record = decode_json(RunRecord, run.recipe)
    student = load_network(run.trained)
    dataset, teacher = load_inputs(run, record, progress=progress)
    images = dataset.test.sample(STORED_IMAGES, seed=record.recipe.seed)
    found = others(transfer_from, images, record, dataset.class_names, progress=progress)
    attacked, taught = (
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
            attack=DEFAULT,
        )
        for name, network in (("student", student), ("teacher", teacher))
    )
    origins = {"teacher": taught.outcomes.images_adv, **found}
    graph = onnx_from_network(student)
    check_graph(graph, attacked.samples, attacked.reference)
    twin = gradient_twin(graph)
    made = make_variant("fp32", graph=graph, twin=twin, reference=attacked.reference)
    threat_model, seed = record.recipe.threat_model, record.recipe.seed
    faster = faster_precisions(record.profile.device)
    model = FloatModel(
        graph=graph,
        samples=attacked.samples,
        calibration=to_float(dataset.train.sample(CALIBRATION, seed=seed).images).numpy(),
        attacks=attacks_of(DEFAULT),
        threat_model=threat_model,
        seed=seed,
        retrain=partial(_retrained, student, run, record, dataset, teacher, progress),
    )
    chosen = choose(model, precision, faster=faster, placement=backend.placement, progress=progress)
    further = tuple(profile for profile in profiles if profile.name != record.profile.name)
    manifest = Manifest(
        name=run.path.resolve().name,
        dataset=record.data.name,
        model=ModelSpec(
            image_shape=record.architecture.image_shape,
            classes=record.data.classes,
            architecture=record.architecture,
            cost=record.cost,
        ),
        preprocessing=record.data.preprocessing,
        threat_model=record.recipe.threat_model,
        format=format,
        variants=(),
        profiles=(record.profile, *further),
        requirement=None,
        reference=reference_of(attacked, taught),
        versions=host_versions(),
        rejected=chosen.rejected,
        origins=tuple(origins),
    )
    samples = replace(attacked.samples, transfers=np.stack(list(origins.values())))
    variants = [*(tried.variant(attacked.samples) for tried in chosen.tried), made]
    write_bundle(run.bundle, manifest, variants=variants, samples=samples, license=license, signer=signer)
    bundle = read_bundle(run.bundle)
    try:
        backend.check_build()
    except MissingDependencyError as e:
        return Exported(bundle=bundle, engine=None, postponed=str(e))
    built = build_engine(bundle, bundle.manifest.variant_for(format, backend.placement), backend, run.engines)
    return Exported(bundle=bundle, engine=str(built.engine), postponed=None)


def _retrained(
    student: Network,
    run: RunFolder,
    record: RunRecord,
    dataset: Dataset,
    teacher: Network,
    progress: Progress,
    graph: bytes,
    rounding: Rounding,
) -> tuple[bytes, int]:
    """The graph of the student trained on with what int8 rounds, and after how many epochs."""
    recipe = record.recipe
    found = train_rounded(
        student, graph, rounding, dataset, recipe, teacher=teacher, adapters=run.adapters, progress=progress
    )
    return onnx_from_network(found), EPOCHS


def reference_of(attacked: Attacked, taught: Attacked) -> ReferenceResult:
    """What the host measured, of student and teacher."""
    own, other = attacked.evaluation, taught.evaluation
    return ReferenceResult(
        clean_acc=own.clean_acc,
        robust_acc=own.robust_acc,
        attacks=tuple(row.attack for row in own.rows),
        teacher_clean_acc=other.clean_acc,
        teacher_robust_acc=other.robust_acc,
    )
