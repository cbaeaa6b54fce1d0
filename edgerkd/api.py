"""What a program imports: attack a model, make and verify bundles, distill, read reports.

Everything is imported when it is first used: `import edgerkd` costs next to nothing, attacks on an ONNX file need no
torch, and attacks on a torch module no onnx. See docs/guide/python-api.md.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgerkd.attacks.classifier import Classifier
    from edgerkd.bundle.read import Bundle
    from edgerkd.core.accuracy import Accuracy
    from edgerkd.core.evaluation import Evaluation, Row
    from edgerkd.core.model_request import ModelRequest
    from edgerkd.core.progress import Progress
    from edgerkd.core.record import Record
    from edgerkd.core.run import RunFolder
    from edgerkd.core.verification import VerifyReport

Model = Any
"""A torch module, an ONNX file's path or bytes, or an object with `logits` and `gradient` (attacks/classifier.py)."""

Array = Any
"""A NumPy array or a torch tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """Of n images: which were `clean`ly right and which are `robust`, right under every attack (n,), in order.

    `images_adv` float32 (n, c, h, w) in [0, 1] holds an image that fools where one was found. `rows` has the worst case
    so far after each attack, as an accuracy with its 95 % interval.
    """

    clean: "NDArray[np.bool_]"
    robust: "NDArray[np.bool_]"
    images_adv: "NDArray[np.float32]"
    clean_acc: "Accuracy"
    robust_acc: "Accuracy"
    rows: "tuple[Row, ...]"


def attack(
    model: Model,
    images: Array,
    labels: Array,
    *,
    eps: str | float,
    norm: str = "Linf",
    attack: str = "autoattack",
    seed: int = 0,
    chunk: int = 64,
) -> Attacked:
    """Attack a classifier on images (n, c, h, w), float32 in [0, 1] or uint8, with integer labels (n,).

    A torch module is used as it is, in evaluation mode, and its images go to its device; an ONNX graph takes images in
    [0, 1] and gives logits (others become such a graph by `edgerkd bundle`). `eps` is a radius such as "8/255",
    `attack` a name that `edgerkd evaluate --attack` takes. The same seed gives the same result, whatever the `chunk`.

    Raises ConfigError for images, labels, a radius or a name that make no sense, EngineError for a model that answers
    NaN, probabilities or another shape, ExportError for a graph without a gradient twin.
    """
    import numpy as np

    from edgerkd.attacks.active_set import AttackInputs
    from edgerkd.attacks.assess import assess, joined
    from edgerkd.attacks.sanity import check_arrays, check_classifier
    from edgerkd.attacks.suite import attacks_named
    from edgerkd.core.threat import ThreatModel, load_norm

    threat_model = ThreatModel(norm=load_norm(norm), eps=_radius(eps))
    with _classifier(model) as (classifier, place):
        inputs = AttackInputs(
            images=place(_floats(images)),
            labels=place(_integers(labels)),
            threat_model=threat_model,
            seed=seed,
            index=np.arange(len(images)),
        )
        first = classifier.logits(inputs.images[:1])
        classes = int(first.shape[-1])
        check_arrays(inputs.images, inputs.labels, classes=classes)
        check_classifier(classifier, inputs.images[:32], classes=classes)
        attacks, _ = attacks_named(attack, classes=classes)
        found = joined(assess(classifier, attacks, inputs, chunk=chunk))
    return Attacked(
        clean=found.clean,
        robust=found.robust,
        images_adv=found.images_adv,
        clean_acc=found.clean_acc,
        robust_acc=found.robust_acc,
        rows=found.rows(attacks),
    )


def make_bundle(
    model: "str | Path | ModelRequest",
    data: str | Path,
    *,
    eps: str | float | None = None,
    norm: str = "Linf",
    min_clean: float | None = None,
    min_robust: float | None = None,
    profiles: tuple[str, ...] = (),
    format: str = "trt",
    n: int = 500,
    attack: str | None = "pgd",
    seed: int = 0,
    out: str | Path | None = None,
    progress: "Progress | None" = None,
) -> "Bundle":
    """A bundle from a network of your own, as `edgerkd bundle` makes it; returned once it is written and checked.

    `model` is an ONNX file or what else the command takes, or a `ModelRequest` that says more of it. Raises as
    jobs/bundle.py says.
    """
    from edgerkd.core.data_request import DataRequest
    from edgerkd.core.model_request import BUNDLES, ModelRequest
    from edgerkd.core.progress import Silent
    from edgerkd.core.requirement import Requirement
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs.bundle import Asked
    from edgerkd.jobs.bundle import make_bundle as job

    request = model if isinstance(model, ModelRequest) else ModelRequest(source=str(model))
    asked = Asked(
        eps=None if eps is None else _radius(eps),
        norm=norm,
        requirement=Requirement(min_clean_acc=min_clean, min_robust_acc=min_robust),
        profiles=tuple(load_profile(name) for name in profiles),
        format=format,
        n=n,
        seed=seed,
        attack=attack,
    )
    folder = BUNDLES / request.name if out is None else Path(out)
    return job(folder, request, DataRequest(source=str(data)), asked, progress=progress or Silent())


def verify_bundle(
    bundle: "str | Path | Bundle",
    *,
    backend: str | None = None,
    variant: str | None = None,
    profile: str | None = None,
    min_clean: float | None = None,
    min_robust: float | None = None,
    measure: bool = False,
    attack: str = "pgd",
    seed: int = 0,
    engines: str | Path | None = None,
    progress: "Progress | None" = None,
) -> "VerifyReport":
    """Attack a bundle's engine on this machine and decide, as `edgerkd verify` does; nothing but engines is written.

    Engines are kept in `engines`, beside the bundle if not given. Raises as verify/run.py says.
    """
    from edgerkd.bundle.read import Bundle, read_bundle
    from edgerkd.core.progress import Silent
    from edgerkd.core.requirement import Requirement
    from edgerkd.verify.run import verify

    found = bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
    return verify(
        found,
        engines=found.path.resolve().parent / "engines" if engines is None else Path(engines),
        backend=backend,
        variant=variant,
        profile=profile,
        requirement=Requirement(min_clean_acc=min_clean, min_robust_acc=min_robust),
        measure=measure,
        attack=attack,
        seed=seed,
        progress=progress or Silent(),
    )


def distill_student(
    data: str | Path = "digits",
    *,
    profile: str = "jetson-orin",
    teacher: str | None = None,
    method: str = "edgerkd",
    epochs: int | None = None,
    eps: str | float | None = None,
    seed: int = 0,
    settings: tuple[str, ...] = (),
    family: str = "resnet",
    folder: str | Path | None = None,
    progress: "Progress | None" = None,
) -> "tuple[RunFolder, Evaluation]":
    """A robust student for a device, as `edgerkd distill` makes it: its run's folder, and its evaluation.

    `settings` are further values of the recipe, such as "lr=0.1". Raises as jobs/distill.py says.
    """
    from edgerkd.core.data_request import DataRequest
    from edgerkd.core.progress import Silent
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs.distill import start

    run, evaluation = start(
        load_profile(profile),
        request=DataRequest(source=str(data)),
        teacher=teacher,
        method=method,
        epochs=epochs,
        eps=None if eps is None else _radius(eps),
        seed=seed,
        folder=None if folder is None else Path(folder),
        progress=progress or Silent(),
        settings=settings,
        family=family,
    )
    assert evaluation is not None  # the first process, of torchrun's or the only one, has it
    return run, evaluation


def read_report(path: str | Path) -> "Record":
    """Any JSON file that edgerkd writes, as the record it holds: its kind is told by its keys.

    Evaluation, VerifyReport, Comparison, CurveReport, VarianceGapReport, RunRecord, Manifest, TeacherCard,
    Examination or EngineRecord. Raises ArtefactError for a file that is none of them.
    """
    import json

    from edgerkd.core.errors import ArtefactError
    from edgerkd.files.decode import decode_json
    from edgerkd.files.paths import TEXT_LIMIT, read_file, shown

    file = Path(path)
    try:
        keys = set(json.loads(read_file(file, limit=TEXT_LIMIT, error=ArtefactError)))
    except (ValueError, TypeError, RecursionError):
        keys = set[str]()
    for kind in _kinds():
        if keys == {"schema", *(f.name for f in fields(kind))}:
            return decode_json(kind, file)
    raise ArtefactError(f"{shown(file)}: this is no report of edgerkd's, or one of another version.")


def _kinds() -> "tuple[type[Any], ...]":
    from edgerkd.core.comparison import Comparison
    from edgerkd.core.curve import CurveReport
    from edgerkd.core.evaluation import Evaluation
    from edgerkd.core.manifest import Manifest
    from edgerkd.core.run_record import RunRecord
    from edgerkd.core.teacher import TeacherCard
    from edgerkd.core.variance_gap import VarianceGapReport
    from edgerkd.core.verification import VerifyReport
    from edgerkd.verify.build import EngineRecord
    from edgerkd.verify.doctor import Examination

    return (
        Evaluation,
        VerifyReport,
        Comparison,
        CurveReport,
        VarianceGapReport,
        RunRecord,
        Manifest,
        TeacherCard,
        Examination,
        EngineRecord,
    )


def _classifier(model: Model) -> "AbstractContextManager[tuple[Classifier, Any]]":
    """The model as a `Classifier`, and what puts NumPy arrays where it wants them."""
    from edgerkd.core.errors import ConfigError

    if isinstance(model, str | Path | bytes):
        return _graph(model)
    if hasattr(model, "logits") and hasattr(model, "gradient"):
        return nullcontext((model, lambda array: array))
    if hasattr(model, "parameters") and callable(model):
        return nullcontext(_module(model))
    raise ConfigError(
        f"{type(model).__name__} is no model that can be attacked: give a torch module, the path of an ONNX file, or "
        "an object with the methods logits(images) and gradient(images, cotangent)."
    )


def _graph(model: str | Path | bytes) -> "AbstractContextManager[tuple[Classifier, Any]]":
    from contextlib import contextmanager

    from edgerkd.files.paths import given_path, read_file, shown
    from edgerkd.graphs.adopt import adopt
    from edgerkd.graphs.load import LIMIT
    from edgerkd.graphs.twin import gradient_twin
    from edgerkd.verify.graph import open_graph

    if isinstance(model, bytes):
        graph = adopt(model).graph
    else:
        path = given_path(str(model))
        graph = adopt(read_file(path, limit=LIMIT), folder=path.parent, where=shown(path)).graph

    @contextmanager
    def opened():
        with open_graph(graph, gradient_twin(graph)) as classifier:
            yield classifier, lambda array: array

    return opened()


def _module(model: Any) -> "tuple[Classifier, Any]":
    import torch

    from edgerkd.models.classifier import TorchClassifier

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return TorchClassifier(model.eval()), lambda array: torch.from_numpy(array).to(device)


def _floats(images: Array) -> "NDArray[np.float32]":
    """Images in [0, 1]; bytes are divided by 255, all else stays what it is and is checked where it is used."""
    import numpy as np

    array = np.asarray(images.cpu() if hasattr(images, "cpu") else images)
    return np.divide(array, 255, dtype=np.float32) if array.dtype == np.uint8 else array


def _integers(labels: Array) -> "NDArray[np.int64]":
    import numpy as np

    array = np.asarray(labels.cpu() if hasattr(labels, "cpu") else labels)
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _radius(eps: str | float) -> Any:  # Any: Radius, which is imported where it is used
    from edgerkd.core.units import Radius

    return Radius(eps if isinstance(eps, str) else str(eps))
