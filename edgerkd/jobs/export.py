"""`edgerkd export`: a run's student to a bundle, and to an engine where one can be built here."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.suite import DEFAULT, attacks_of
from edgerkd.bundle.backend import Backend
from edgerkd.bundle.keys import Signer, own_signer
from edgerkd.bundle.place import check_place
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.write import MadeVariant, make_variant, write_bundle
from edgerkd.core.errors import ConfigError, MissingDependencyError
from edgerkd.core.manifest import Manifest
from edgerkd.core.model_spec import UNKNOWN_LICENSE, ModelSpec
from edgerkd.core.precision import Precisions
from edgerkd.core.profile import Profile
from edgerkd.core.progress import Progress
from edgerkd.core.requirement import ReferenceResult, Requirement
from edgerkd.core.run import RunFolder
from edgerkd.core.run_record import RunRecord
from edgerkd.data.calibration import MOST as CALIBRATION
from edgerkd.data.dataset import Dataset, to_float
from edgerkd.distill.quantization_aware import EPOCHS, train_rounded
from edgerkd.files.atomic import check_writable, claim
from edgerkd.files.decode import decode_json
from edgerkd.files.paths import shown
from edgerkd.graphs.precision.int8 import Rounding
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.attack import Attacked, attack_network
from edgerkd.jobs.distill import load_inputs
from edgerkd.jobs.evaluate import Subject, subject_in
from edgerkd.jobs.evaluation_state import ChunkStore, forget_all_but, store_of
from edgerkd.jobs.floor import say_floor
from edgerkd.jobs.graph_parity import check_graph
from edgerkd.jobs.precision import FloatModel, check_precision, choose, faster_precisions
from edgerkd.jobs.ranks import ALONE
from edgerkd.jobs.transfer import others
from edgerkd.jobs.versions import host_versions
from edgerkd.models.network import Network
from edgerkd.models.onnx_graph import onnx_from_network
from edgerkd.verify.build import build_engine

STORED_IMAGES = 500  # unless others are asked for; an interval of 4 points either way, and 8 MB of CIFAR-10


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
    requirement: Requirement | None = None,
    license: str = UNKNOWN_LICENSE,
    transfer_from: tuple[str, ...] = (),
    n: int = STORED_IMAGES,
    signer: Signer | None = None,
    progress: Progress,
) -> Exported:
    """Write the run's bundle for the backend `format`, and its engine where that can build here.

    `n` test images at most go with it, to be verified on.

    With `auto` the precision is the fastest on the profile's device whose robustness holds; float32 comes along. The
    bundle carries the requirements of the run's profile, then of further `profiles`, the maker's own `requirement`,
    which counts before theirs, and adversarial images made against the teacher, if it has one, and against each run or
    model that `transfer_from` names. The `signer` signs it,
    or else the user's own key. Raises UnknownNameError for a backend that is not known, ConfigError where another
    process works in the run's folder, or for a precision that the backend has not, ArtefactError for a damaged student,
    ExportError for a network without a gradient twin or a precision that it cannot have, ParityError where the exported
    graph is not the student.
    """
    backend, signer = load_backend(format), signer or own_signer()
    check_writable(run.path / "bundle.json")
    check_place(run.bundle, in_run=True)
    record = decode_json(RunRecord, run.recipe)
    further = tuple(profile for profile in profiles if profile.name != record.profile.name)
    check_precision(precision, backend, (record.profile, *further), progress)
    with claim(run.path) as alone:
        if not alone:
            raise ConfigError(f"{shown(run.path)}: another process trains or exports this run: wait until it ends.")
        material = _material(run, record, transfer_from, n, progress)
        if requirement is not None:
            say_floor(requirement, material.attacked.samples.labels, progress)
        chosen = choose(
            _float_model(material, run, record, progress),
            precision,
            faster=faster_precisions(record.profile.device),
            placement=backend.placement,
            progress=progress,
        )
        manifest = replace(
            _manifest(run, record, material, format=format, requirement=requirement),
            profiles=(record.profile, *further),
            rejected=chosen.rejected,
        )
        own, origins = material.attacked.samples, list(material.origins.values())
        samples = replace(own, transfers=np.stack(origins) if origins else None)
        variants = [*(tried.variant(own) for tried in chosen.tried), material.variant]
        write_bundle(run.bundle, manifest, variants=variants, samples=samples, license=license, signer=signer)
        return _built(run, backend)


def _manifest(
    run: RunFolder, record: RunRecord, material: "_Material", *, format: str, requirement: Requirement | None
) -> Manifest:
    """What is known before a precision is chosen; the variants come as it is written."""
    return Manifest(
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
        profiles=(record.profile,),
        requirement=requirement,
        reference=reference_of(material.attacked, material.taught),
        versions=host_versions(),
        origins=tuple(material.origins),
    )


def _built(run: RunFolder, backend: Backend) -> Exported:
    """The run's bundle, with its engine where that can be built here."""
    bundle = read_bundle(run.bundle)
    try:
        backend.check_build()
    except MissingDependencyError as e:
        return Exported(bundle=bundle, engine=None, postponed=str(e))
    variant = bundle.manifest.variant_for(bundle.manifest.format, backend.placement)
    built = build_engine(bundle, variant, backend, run.engines)
    return Exported(bundle=bundle, engine=str(built.engine), postponed=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Material:
    """What a bundle is made of: the student's graph, and the student `attacked` as its teacher was, if it has one.

    `origins` are adversarial images float32 (n, c, h, w) by the name of the network that they were made against.
    """

    student: Network
    teacher: Network | None
    dataset: Dataset
    graph: bytes
    variant: MadeVariant
    attacked: Attacked
    taught: Attacked | None
    origins: dict[str, NDArray[np.float32]]


def _material(
    run: RunFolder, record: RunRecord, transfer_from: tuple[str, ...], n: int, progress: Progress
) -> _Material:
    student = subject_in(run.trained, "student")
    dataset, teacher = load_inputs(run, record, progress=progress)
    subjects = [student]
    if teacher is not None:
        subjects.append(Subject(name="teacher", network=teacher, sha256=str(record.teacher_sha256)))
    images = dataset.test.sample(n, seed=record.recipe.seed)
    found = others(transfer_from, images, record, dataset.class_names, progress=progress)
    stores = [_store(run, record, subject, len(images)) for subject in subjects]
    attacked, *beside = (
        attack_network(
            subject.network,
            images,
            name=subject.name,
            split="test",
            of=len(dataset.test),
            class_names=dataset.class_names,
            threat_model=record.recipe.threat_model,
            seed=record.recipe.seed,
            progress=progress,
            attack=DEFAULT,
            store=store,
        )
        for subject, store in zip(subjects, stores, strict=True)
    )
    taught = beside[0] if beside else None
    forget_all_but(stores)
    graph = onnx_from_network(student.network)
    check_graph(graph, attacked.samples, attacked.reference)
    return _Material(
        student=student.network,
        teacher=teacher,
        dataset=dataset,
        graph=graph,
        variant=make_variant("fp32", graph=graph, twin=gradient_twin(graph), reference=attacked.reference),
        attacked=attacked,
        taught=taught,
        origins=({} if taught is None else {"teacher": taught.outcomes.images_adv}) | found,
    )


def _store(run: RunFolder, record: RunRecord, subject: Subject, n: int) -> ChunkStore:
    """Where the attacks on one network are kept: a stopped export, and the next, in another precision, go on there."""
    return store_of(
        run.attacked,
        network=subject.sha256,
        data=record.data.sha256,
        n=n,
        threat_model=record.recipe.threat_model,
        attack=DEFAULT,
        seed=record.recipe.seed,
        device=ALONE.device.type,
    )


def _float_model(material: _Material, run: RunFolder, record: RunRecord, progress: Progress) -> FloatModel:
    """What the precision search works on, with the run's own training to fall back on."""
    seed, dataset = record.recipe.seed, material.dataset
    return FloatModel(
        graph=material.graph,
        samples=material.attacked.samples,
        calibration=to_float(dataset.train.sample(CALIBRATION, seed=seed).images).numpy(),
        attacks=attacks_of(DEFAULT),
        threat_model=record.recipe.threat_model,
        seed=seed,
        retrain=partial(_retrained, material.student, run, record, dataset, material.teacher, progress),
    )


def _retrained(
    student: Network,
    run: RunFolder,
    record: RunRecord,
    dataset: Dataset,
    teacher: Network | None,
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


def reference_of(attacked: Attacked, taught: Attacked | None) -> ReferenceResult:
    """What the host measured, of the student and of the teacher, if it has one."""
    own, other = attacked.evaluation, None if taught is None else taught.evaluation
    return ReferenceResult(
        clean_acc=own.clean_acc,
        robust_acc=own.robust_acc,
        attacks=tuple(row.attack for row in own.rows),
        teacher_clean_acc=None if other is None else other.clean_acc,
        teacher_robust_acc=None if other is None else other.robust_acc,
    )
