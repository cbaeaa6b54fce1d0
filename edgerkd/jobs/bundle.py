"""`edgerkd bundle`: a network of the user's own to a bundle. Needs onnx, and torch only for a network of torch's."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgerkd.attacks.attack import Attack
from edgerkd.attacks.suite import attacks_of
from edgerkd.bundle.keys import Signer, own_signer
from edgerkd.bundle.place import check_place
from edgerkd.bundle.plugins import load_backend
from edgerkd.bundle.read import Bundle, read_bundle
from edgerkd.bundle.samples import StoredSamples
from edgerkd.bundle.write import make_variant, write_bundle
from edgerkd.core.data_request import DataRequest, Preprocessing
from edgerkd.core.errors import ConfigError
from edgerkd.core.manifest import Manifest
from edgerkd.core.model_request import ModelRequest
from edgerkd.core.model_spec import UNKNOWN_LICENSE, ModelSpec
from edgerkd.core.precision import Precision, Precisions
from edgerkd.core.profile import Profile
from edgerkd.core.progress import Progress
from edgerkd.core.requirement import ReferenceResult, Requirement
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.data.calibration import check_enough, read_calibration, spare_images
from edgerkd.data.load import load_samples
from edgerkd.data.samples import Checked, Samples, channels_first
from edgerkd.data.split import draw
from edgerkd.files.atomic import check_writable, claimed_place
from edgerkd.files.paths import given_path, read_file, shown
from edgerkd.graphs.adopt import ModelGraph
from edgerkd.graphs.cost import count_graph_cost
from edgerkd.graphs.twin import gradient_twin
from edgerkd.jobs.adopt import adopt_model, check_source, classes_for
from edgerkd.jobs.class_counts import class_counts
from edgerkd.jobs.floor import say_floor
from edgerkd.jobs.graph_attack import attack_graph
from edgerkd.jobs.precision import Chosen, FloatModel, check_precision, choose, faster_precisions
from edgerkd.jobs.threat import threat_model_for
from edgerkd.jobs.versions import host_versions
from edgerkd.verify.graph import reference_of_graph

TO_READ = 2000  # images, at most, by which it is found how the model reads them; ours: they tell ImageNet's
# normalization from CIFAR-10's


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a bundle is to be verified for.

    Without `eps` the radius is the customary one. `format` is the backend; without `attack` the host attacks nothing.
    `precision` beside float32 is for the first of the `profiles`; `calibration` names images for it, None for some of
    the data's own.
    """

    eps: Radius | None
    norm: str
    requirement: Requirement
    profiles: tuple[Profile, ...]
    format: str
    n: int
    seed: int
    attack: str | None
    precision: Precisions = "auto"
    calibration: str | None = None
    license: str = UNKNOWN_LICENSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A user's model with the labelled images of the data that it is judged on, `drawn` by class."""

    model: ModelGraph
    data: Checked
    drawn: Samples
    class_names: tuple[str, ...]


def make_bundle(
    folder: Path,
    model: ModelRequest,
    data: DataRequest,
    asked: Asked,
    *,
    signer: Signer | None = None,
    alone: bool = True,
    progress: Progress,
) -> Bundle:
    """Adopt the model, measure it on images drawn from the data, and write the bundle.

    What was decided of model and data is said first. The `signer` signs it, or else the user's own key. A bundle in
    `folder` is replaced, and nothing else is. Raises ConfigError for a model that is no image classifier or does not
    fit the data, and for a folder that holds something else or, to be made `alone`, is being written, ExportError for a
    model without a gradient twin, ArtefactError for damaged files.
    """
    named = (model.source, model.weights, model.engine, data.source, asked.calibration)
    check_place(folder, inputs=[given_path(each) for each in named if each is not None])
    with claimed_place(folder) as free:
        if alone and not free:
            raise ConfigError(f"{shown(folder)}: another process makes this bundle: wait, or name another folder.")
        _make(folder, model, data, asked, signer or own_signer(), progress)
        return read_bundle(folder)


def _make(
    folder: Path, model: ModelRequest, data: DataRequest, asked: Asked, signer: Signer, progress: Progress
) -> None:
    check_writable(folder.with_name(f"{folder.name}.bundle"))
    backend = load_backend(asked.format)
    attacks = () if asked.attack is None else attacks_of(asked.attack)  # a wrong name is said before there is work
    check_precision(asked.precision, backend, asked.profiles, progress)
    check_source(model)
    judged = judge_inputs(model, data, n=asked.n, seed=asked.seed, progress=progress)
    say_floor(asked.requirement, judged.drawn.labels, progress)
    threat_model = threat_model_of(data, judged, eps=asked.eps, norm=asked.norm, progress=progress)
    calibration = _calibration(judged, data, asked, progress) if model.engine is None else None
    graph = judged.model.graph
    with progress.stage("gradient twin", 0):
        twin = gradient_twin(graph)
    samples, result = _attacked(graph, twin, judged, attacks, threat_model, asked.seed, progress)
    engine = None if model.engine is None else (model.engine.suffix, read_file(model.engine, limit=1 << 32))
    made = make_variant(
        "fp32",
        graph=graph,
        twin=twin,
        reference=reference_of_graph(graph, samples),
        backend=asked.format if engine else None,
        engine=engine,
    )
    chosen = Chosen()
    if calibration is not None:
        rounded = FloatModel(
            graph=graph,
            samples=samples,
            calibration=calibration,
            attacks=attacks,
            threat_model=threat_model,
            seed=asked.seed,
        )
        faster, placement = _faster(asked), backend.placement
        chosen = choose(rounded, asked.precision, faster=faster, placement=placement, progress=progress)
    manifest = _manifest(folder.name, judged, data, asked, threat_model)
    manifest = replace(manifest, reference=result, rejected=chosen.rejected)
    variants = [*(tried.variant(samples) for tried in chosen.tried), made]
    write_bundle(folder, manifest, variants=variants, samples=samples, license=asked.license, signer=signer)


def _manifest(name: str, judged: Judged, request: DataRequest, asked: Asked, threat_model: ThreatModel) -> Manifest:
    """What is known of the bundle before anything is attacked or written."""
    model = judged.model
    return Manifest(
        name=name,
        dataset=judged.data.name,
        model=ModelSpec(
            image_shape=model.image_shape,
            classes=judged.class_names,
            architecture=None,
            adoption=model.adoption,
            cost=count_graph_cost(model.graph),
        ),
        preprocessing=Preprocessing(
            size=judged.data.size, fit=request.fit, alpha=request.alpha, channels=model.image_shape[0]
        ),
        threat_model=threat_model,
        format=asked.format,
        variants=(),
        profiles=asked.profiles,
        requirement=asked.requirement,
        reference=None,
        versions=host_versions(),
    )


def judge_inputs(model: ModelRequest, request: DataRequest, *, n: int, seed: int, progress: Progress) -> Judged:
    """The model in edgerkd's form, and `n` images drawn by class. Says what was decided of both."""
    data = load_samples(request, progress=progress)
    assert data.test is not None
    read = data.test.take(draw(data.test.labels, TO_READ, seed=seed))
    found = adopt_model(model, channels_first(read.images), read.labels, progress=progress)
    drawn = data.test.take(draw(data.test.labels, n, seed=seed))
    class_names = classes_for(data, found.classes)
    _, height, width = found.image_shape
    colour = "grey" if found.image_shape[0] == 1 else "colour"
    progress.say(f"{data.name}: {len(drawn):,} of {len(data.test):,} images, {width}x{height} {colour}")
    progress.say(f"{data.name}: {class_counts(class_names, drawn.labels)}")
    for line in data.notes:
        progress.say(f"note: {line}")
    return Judged(model=found, data=data, drawn=drawn, class_names=class_names)


def _faster(asked: Asked) -> tuple[Precision, ...]:
    """The precisions that the device is known to compute faster than float32."""
    return faster_precisions(asked.profiles[0].device) if asked.profiles else ()


def _calibration(judged: Judged, request: DataRequest, asked: Asked, progress: Progress) -> NDArray[np.float32] | None:
    """Images (n, c, h, w) that ranges are measured on; None where float32 is enough, and why is said.

    Raises ConfigError where they are missing, or are named and not needed.
    """
    if asked.precision == "fp32" or (asked.precision == "auto" and not _faster(asked)):
        why = _why_float32(asked)
        if asked.calibration is not None:
            raise ConfigError(f"--calibration: {why}, so nothing is rounded. Take --precision fp16 or int8.")
        if asked.precision == "auto" and asked.attack is not None:
            progress.say(f"float32 alone: {why}")
        return None
    channels, height, width = judged.model.image_shape
    if asked.calibration is not None:
        images = read_calibration(asked.calibration, request, (height, width, channels), progress=progress)
    else:
        images = spare_images(judged.data, judged.drawn, seed=asked.seed)
        try:
            check_enough(images, f"{judged.data.name}, beside the {len(judged.drawn):,} images that are judged")
        except ConfigError as e:
            if asked.precision != "auto":
                raise
            progress.say(f"float32 alone: {e}")
            return None
    source = asked.calibration or f"{judged.data.name}, none of them judged"
    progress.say(f"calibration: {len(images):,} images of {source}")
    return np.divide(channels_first(images), 255, dtype=np.float32)


def _why_float32(asked: Asked) -> str:
    if asked.precision == "fp32":
        return "fp32 is asked for"
    if not asked.profiles:
        return "without --profile no device is known to be faster in another precision"
    return f"{asked.profiles[0].name} is not known to be faster in another precision"


def threat_model_of(
    request: DataRequest, judged: Judged, *, eps: Radius | None, norm: str, progress: Progress
) -> ThreatModel:
    """As asked, or as is customary; which is said."""
    channels = judged.model.image_shape[0]
    threat_model, why = threat_model_for(request.source, judged.data.name, channels=channels, eps=eps, norm=norm)
    progress.say(f"threat model: {threat_model} ({why})")
    return threat_model


def _attacked(
    graph: bytes,
    twin: bytes,
    judged: Judged,
    attacks: tuple[Attack, ...],
    threat_model: ThreatModel,
    seed: int,
    progress: Progress,
) -> tuple[StoredSamples, ReferenceResult | None]:
    """The images with what the host's own attacks on the graph made of them, and their result, against which an
    engine's robustness is held; None without attacks.
    """
    samples = StoredSamples(pixels=channels_first(judged.drawn.images), labels=judged.drawn.labels)
    if not attacks:
        return samples, None
    outcomes = attack_graph(graph, twin, samples, attacks, threat_model, seed=seed, name="the model", progress=progress)
    result = ReferenceResult(
        clean_acc=outcomes.clean_acc,
        robust_acc=outcomes.robust_acc,
        attacks=tuple(row.attack for row in outcomes.rows(attacks)),
    )
    return replace(samples, images_adv=outcomes.images_adv, host_robust=outcomes.robust), result
