"""What a program imports: attack a model, make and verify bundles, distill, read reports.

Everything is imported when it is first used: `import edgerkd` costs next to nothing, attacks on an ONNX file need no
torch, and attacks on a torch module no onnx. See docs/guide/python-api.md.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgerkd.core.arguments import digest, several, share, text, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgerkd.attacks.classifier import Classifier
    from edgerkd.bundle.read import Bundle
    from edgerkd.core.accuracy import Accuracy
    from edgerkd.core.data_request import DataRequest
    from edgerkd.core.evaluation import Evaluation, Row
    from edgerkd.core.model_request import ModelRequest
    from edgerkd.core.precision import Precisions
    from edgerkd.core.progress import Progress
    from edgerkd.core.record import Record
    from edgerkd.core.requirement import Requirement
    from edgerkd.core.run import RunFolder
    from edgerkd.core.units import Radius
    from edgerkd.core.verification import VerifyReport

Model = Any
"""A torch module, an ONNX file's path or bytes, a bundle or its folder, or an object with `logits` and `gradient`
(attacks/classifier.py)."""

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
    """Attack a classifier on images (n, c, h, w), floats in [0, 1] or uint8, with integer labels (n,).

    A torch module is attacked on its own device, in evaluation mode, and left in the mode that it was in. An ONNX graph
    takes images in [0, 1]: one that wants them normalised is attacked as a bundle, which has that inside. Of a bundle
    the graph is attacked, in ONNX Runtime; `verify_bundle` attacks its engine. An object with the methods `logits` and
    `gradient` gets images of the library that they came from. `eps` is a radius such as "8/255", `attack` a name that
    `edgerkd evaluate --list-attacks` shows. The same seed gives the same result, whatever the `chunk`, which is how
    many images are attacked at once.

    Raises ConfigError for a model, images, labels, a radius or a name that make no sense, EngineError for a model that
    answers NaN, probabilities or another shape, ExportError for a graph without a gradient twin.
    """
    import numpy as np

    from edgerkd.attacks.active_set import AttackInputs
    from edgerkd.attacks.assess import assess, joined
    from edgerkd.attacks.sanity import check_arrays, check_classifier, check_images, first_answer
    from edgerkd.attacks.suite import attacks_named
    from edgerkd.core.threat import ThreatModel, load_norm

    threat_model = ThreatModel(norm=load_norm(text(norm, "norm")), eps=_radius(eps))
    seed, chunk, attack = whole(seed, "seed"), whole(chunk, "chunk", least=1), text(attack, "attack")
    pixels, answers = _floats(images), _integers(labels)
    check_images(pixels)
    with _classifier(model, images) as (classifier, place):
        inputs = AttackInputs(
            images=place(pixels),
            labels=place(answers),
            threat_model=threat_model,
            seed=seed,
            index=np.arange(len(pixels)),
        )
        classes = first_answer(classifier, inputs.images[:1])
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
    data: "str | Path | DataRequest",
    *,
    eps: str | float | None = None,
    norm: str = "Linf",
    min_clean: float | None = None,
    min_robust: float | None = None,
    profiles: tuple[str, ...] = (),
    format: str = "trt",
    precision: "Precisions" = "auto",
    calibration: str | Path | None = None,
    n: int = 500,
    attack: str | None = "apgd-square",
    seed: int = 0,
    out: str | Path | None = None,
    sign: str | Path | None = None,
    progress: "Progress | None" = None,
) -> "Bundle":
    """A bundle from a network of your own, as `edgerkd bundle` makes it; returned once it is written and checked.

    `model` and `data` are what the command takes, or a `ModelRequest` and a `DataRequest` (edgerkd.core.model_request,
    edgerkd.core.data_request), which say more. `min_robust` 0.4 asks for a robust accuracy of at least 40 %.
    `calibration` names images that fp16 and int8 are made by, without labels; some of the data's if None. `sign` is the
    file of a private key; the user's own key if None. Raises as jobs/bundle.py and bundle/keys.py say.
    """
    from edgerkd.bundle.keys import load_signer
    from edgerkd.core.model_request import BUNDLES, ModelRequest
    from edgerkd.core.precision import load_precision
    from edgerkd.core.progress import Silent
    from edgerkd.files.paths import given_path, result_folder
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs.bundle import Asked
    from edgerkd.jobs.bundle import make_bundle as job

    request = model if isinstance(model, ModelRequest) else ModelRequest(source=str(model))
    asked = Asked(
        eps=None if eps is None else _radius(eps),
        norm=text(norm, "norm"),
        requirement=_requirement(min_clean, min_robust),
        profiles=tuple(load_profile(name) for name in several(profiles, "profiles")),
        format=text(format, "format"),
        n=whole(n, "n", least=1),
        seed=whole(seed, "seed"),
        attack=None if attack is None else text(attack, "attack"),
        precision=load_precision(text(precision, "precision")),
        calibration=None if calibration is None else str(calibration),
    )
    folder = BUNDLES / request.name if out is None else result_folder(out, "out")
    signer = None if sign is None else load_signer(given_path(sign))
    return job(folder, request, _request(data), asked, signer=signer, progress=progress or Silent())


def verify_bundle(
    bundle: "str | Path | Bundle",
    *,
    backend: str | None = None,
    variant: str | None = None,
    profile: str | None = None,
    min_clean: float | None = None,
    min_robust: float | None = None,
    measure: bool = False,
    attack: str | None = "apgd-square",
    full: bool = False,
    seed: int | None = None,
    data: "str | Path | DataRequest | None" = None,
    n: int | None = None,
    eps: str | float | None = None,
    engines: str | Path | None = None,
    trust: Sequence[str | Path] = (),
    expect_sha256: str | None = None,
    progress: "Progress | None" = None,
) -> "VerifyReport":
    """Attack a bundle's engine on this machine and decide, as `edgerkd verify` does; nothing but engines is written.

    Engines are kept in `engines`, beside the bundle if not given. With `data`, `n` of your own images at most, 500 if
    not given, are drawn and judged in place of the bundle's; `eps` is a radius of your own, `profile` a name in the
    bundle or a TOML file. Without an `attack` accuracy, parity and latency are reported alone. `trust` are files of
    public keys of which one must have signed the bundle, `expect_sha256` is the digest that its manifest must have.
    Raises as verify/run.py and verify/trust.py say, and as jobs/own_samples.py says of the data.
    """
    from edgerkd.bundle.keys import load_key
    from edgerkd.bundle.read import Bundle, read_bundle
    from edgerkd.core.errors import ConfigError
    from edgerkd.core.progress import Silent
    from edgerkd.core.requirement import Requirement
    from edgerkd.files.paths import given_path
    from edgerkd.jobs.own_samples import bring
    from edgerkd.verify.run import verify
    from edgerkd.verify.trust import trust_in

    requirement = _requirement(min_clean, min_robust)
    if (measure or attack is None) and requirement != Requirement():
        raise ConfigError("min_clean, min_robust: they ask for a verdict, and measure=True or attack=None makes none")
    if attack is None and full:
        raise ConfigError("full: it is about attacks, and attack=None makes none")
    if data is None and n is not None:
        raise ConfigError("n: it is about images of your own: name them with data")
    expected = digest(expect_sha256, "expect_sha256")
    keys = [load_key(given_path(key)) for key in several(trust, "trust")]
    found = bundle if isinstance(bundle, Bundle) else read_bundle(given_path(bundle))
    brought = bring(
        None if data is None else _request(data),
        found.manifest,
        n=500 if n is None else whole(n, "n", least=1),
        eps=None if eps is None else _radius(eps),
        progress=progress or Silent(),
    )
    return verify(
        found,
        engines=found.path.resolve().parent / "engines" if engines is None else given_path(engines),
        backend=None if backend is None else text(backend, "backend"),
        variant=None if variant is None else text(variant, "variant"),
        profile=None if profile is None else str(profile),
        requirement=requirement,
        measure=measure,
        attack=None if attack is None else text(attack, "attack"),
        full=full,
        seed=None if seed is None else whole(seed, "seed"),
        brought=brought,
        trust=trust_in(found, keys=keys, sha256=expected),
        progress=progress or Silent(),
    )


def distill_student(
    data: "str | Path | DataRequest" = "digits",
    *,
    profile: str = "jetson-orin",
    teacher: str | Path | None = None,
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
    from edgerkd.core.progress import Silent
    from edgerkd.files.paths import result_folder
    from edgerkd.files.profiles import load_profile
    from edgerkd.jobs.distill import start

    run, evaluation = start(
        load_profile(profile),
        request=_request(data),
        teacher=None if teacher is None else str(teacher),
        method=text(method, "method"),
        epochs=None if epochs is None else whole(epochs, "epochs", least=1),
        eps=None if eps is None else _radius(eps),
        seed=whole(seed, "seed"),
        folder=None if folder is None else result_folder(folder, "folder"),
        progress=progress or Silent(),
        settings=several(settings, "settings"),
        family=text(family, "family"),
    )
    assert evaluation is not None  # the first process, of torchrun's or the only one, has it
    return run, evaluation


def read_report(path: str | Path) -> "Record":
    """Any report that edgerkd writes, as the record it holds: its kind is told by its keys.

    Evaluation, VerifyReport, Comparison, CurveReport, VarianceGapReport, RunRecord, Manifest, TeacherCard, Examination
    or EngineRecord; a run's folder gives Facts, all of them together. Raises ArtefactError for a file that is none, and
    for a run whose bundle or verification is not as it was signed.
    """
    import json

    from edgerkd.core.errors import ArtefactError
    from edgerkd.core.run import RunFolder
    from edgerkd.files.damage import DAMAGE
    from edgerkd.files.decode import decode_json
    from edgerkd.files.paths import TEXT_LIMIT, find_kind, given_path, read_file, shown
    from edgerkd.jobs.report import checked_facts

    file = given_path(path)
    if find_kind(file, error=ArtefactError) == "a folder":
        return checked_facts(RunFolder(file))
    content = read_file(file, limit=TEXT_LIMIT, error=ArtefactError)
    try:
        keys = set(json.loads(content))
    except (*DAMAGE, TypeError):  # TypeError: JSON, and not even a table
        keys = set[str]()
    for kind in _kinds():
        if keys == {"schema", *(f.name for f in fields(kind))}:
            return decode_json(kind, file)
    raise ArtefactError(f"{shown(file)}: this is not a report of edgerkd, or one of another version.")


def _kinds() -> "tuple[type[Any], ...]":
    from edgerkd.core.comparison import Comparison
    from edgerkd.core.curve import CurveReport
    from edgerkd.core.evaluation import Evaluation
    from edgerkd.core.manifest import Manifest
    from edgerkd.core.run_record import RunRecord
    from edgerkd.core.teacher import TeacherCard
    from edgerkd.core.variance_gap import VarianceGapReport
    from edgerkd.core.verification import VerifyReport
    from edgerkd.core.verify_comparison import VerifyComparison
    from edgerkd.report.load import Facts
    from edgerkd.verify.build import EngineRecord
    from edgerkd.verify.doctor import Examination

    measured = (Evaluation, VerifyReport, Comparison, VerifyComparison, CurveReport, VarianceGapReport, Examination)
    return (*measured, RunRecord, Manifest, TeacherCard, EngineRecord, Facts)


def _request(data: "str | Path | DataRequest") -> "DataRequest":
    """A path is never one of the known names: Path("mnist") is a folder here."""
    from edgerkd.core.data_request import DataRequest, source_of

    if isinstance(data, DataRequest):
        return data
    return DataRequest(source=source_of(data) if isinstance(data, Path) else text(data, "data"))


def _classifier(model: Model, images: Array) -> "AbstractContextManager[tuple[Classifier, Any]]":
    """The model as a `Classifier`, and what puts NumPy arrays where it wants them."""
    from edgerkd.bundle.read import Bundle
    from edgerkd.core.errors import ConfigError

    if isinstance(model, str | Path | bytes | Bundle):
        return _graph(model, tuple(images.shape[1:]))
    if hasattr(model, "logits") and hasattr(model, "gradient"):
        return nullcontext((model, _tensors(images.device) if hasattr(images, "detach") else _unchanged))
    if hasattr(model, "parameters") and callable(model):
        return _module(model)
    raise ConfigError(
        f"{type(model).__name__} is no model that can be attacked: give a torch module, the path of an ONNX file, or "
        "an object with the methods logits(images) and gradient(images, cotangent)."
    )


@contextmanager
def _graph(model: "str | Path | bytes | Bundle", shape: tuple[int, int, int]) -> "Generator[tuple[Classifier, Any]]":
    from edgerkd.verify.graph import open_graph

    with open_graph(*_graph_and_twin(model, shape)) as classifier:
        yield classifier, _unchanged


def _graph_and_twin(model: "str | Path | bytes | Bundle", shape: tuple[int, int, int]) -> tuple[bytes, bytes]:
    """A graph of images in [0, 1] with its gradient twin; a bundle has both already, of its first variant."""
    from edgerkd.bundle.read import Bundle, read_bundle
    from edgerkd.core.errors import ConfigError
    from edgerkd.files.paths import GRAPH_LIMIT, find_kind, given_path, read_file, shown

    if isinstance(model, str | Path):
        path = given_path(model)
        if find_kind(path) == "a folder":
            model = read_bundle(path)
    if isinstance(model, Bundle):
        variant = model.manifest.variants[0]
        return read_file(model.path / variant.graph), read_file(model.path / variant.twin)
    from edgerkd.graphs.adopt import adopt
    from edgerkd.graphs.twin import gradient_twin
    from edgerkd.verify.graph import run_apart

    if isinstance(model, bytes):
        content, folder, where = model, None, "the ONNX graph"
    else:
        path = given_path(model)
        content, folder, where = read_file(path, limit=GRAPH_LIMIT), path.parent, shown(path)
    tried = partial(run_apart, where=where)
    adopted = adopt(content, folder=folder, where=where, image_shape=shape, tried=tried)
    if adopted.adoption.grey_repeated:
        raise ConfigError(
            f"{where}: takes colour, and the images are grey: repeat their channel, so that all are attacked"
        )
    return adopted.graph, gradient_twin(adopted.graph)


@contextmanager
def _module(model: Any) -> "Generator[tuple[Classifier, Any]]":
    import torch

    from edgerkd.core.errors import ConfigError
    from edgerkd.models.classifier import TorchClassifier

    if odd := next((p.dtype for p in model.parameters() if p.dtype != torch.float32), None):
        raise ConfigError(
            f"the module's weights are {odd}, and images are float32: convert it first, by model.float()."
        )
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    modes = [(part, part.training) for part in model.modules()]
    try:
        yield TorchClassifier(model.eval()), _tensors(device)
    finally:
        for part, training in modes:
            part.training = training


def _tensors(device: Any) -> "Callable[[NDArray[Any]], Array]":
    import torch

    return lambda array: torch.from_numpy(array).to(device)


def _unchanged(array: "NDArray[Any]") -> "NDArray[Any]":
    return array


def _numpy(array: Array) -> "NDArray[Any]":
    import numpy as np

    return np.ascontiguousarray(array.detach().cpu() if hasattr(array, "detach") else array)


def _floats(images: Array) -> "NDArray[Any]":
    """Bytes are divided by 255 and floats become float32; all else is refused where it is used."""
    import numpy as np

    from edgerkd.core.errors import ConfigError

    array = _numpy(images)
    if array.dtype == np.uint8 and array.size and array.max() == 1:
        raise ConfigError("images: bytes of 0 and 1 are nearly black: give floats of 0 to 1, or bytes of 0 to 255")
    if array.dtype == np.uint8:
        return np.divide(array, 255, dtype=np.float32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _integers(labels: Array) -> "NDArray[Any]":
    import numpy as np

    array = _numpy(labels)
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _requirement(min_clean: float | None, min_robust: float | None) -> "Requirement":
    """Raises ConfigError for what is no share."""
    from edgerkd.core.requirement import Requirement

    return Requirement(min_clean_acc=share(min_clean, "min_clean"), min_robust_acc=share(min_robust, "min_robust"))


def _radius(eps: str | float) -> "Radius":
    """A float that is a whole number of 255ths is taken as that: 8 / 255 is 8/255."""
    from fractions import Fraction
    from numbers import Real

    from edgerkd.core.errors import ConfigError
    from edgerkd.core.units import Radius

    if isinstance(eps, str | Radius):
        return Radius(eps)
    if not isinstance(eps, Real) or isinstance(eps, bool):
        raise ConfigError(f"eps: {eps!r} is no radius: take text such as '8/255', or a number")
    near = Fraction(round(eps * 255), 255) if -1 < eps < 2 else None
    return Radius(near if near is not None and float(near) == eps else str(eps))
