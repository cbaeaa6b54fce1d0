"""`edgerkd teacher import`: somebody else's weights or graph, read as it is most accurate, measured, and kept."""

from pathlib import Path

import torch
import torch.nn.functional as F

from edgerkd.core.architecture import Architecture, Family
from edgerkd.core.errors import ConfigError, problems_text
from edgerkd.core.evaluation import Evaluation
from edgerkd.core.model_request import ModelRequest
from edgerkd.core.progress import Progress
from edgerkd.core.teacher import TeacherCard
from edgerkd.core.threat import ThreatModel
from edgerkd.data.dataset import Dataset, Split, to_float
from edgerkd.files.atomic import sha256_of
from edgerkd.files.paths import given_path
from edgerkd.jobs.adopt import adopt_model
from edgerkd.jobs.attack import attack_network
from edgerkd.jobs.teacher_cache import check_name, keep_teacher
from edgerkd.jobs.zoo import Weights, check_digest, load_weights
from edgerkd.models.graph_network import graph_network
from edgerkd.models.hardware import compute_device
from edgerkd.models.network import Network
from edgerkd.models.teacher_file import Moments, families_of, has_moments, network_from_library, network_from_state

SAMPLE = 500  # images of the validation split a teacher is checked on
GRAPHS = (".onnx", ".pt2", ".torchscript")
CHOICE = 128  # of them to tell readings apart by; ours: a wrong one loses far more than these can hide

# Normalisations of colour images that public training code uses: of [-1, 1], of CIFAR-10 with the standard deviation
# within an image, and of ImageNet.
_CUSTOMARY = (
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)


def import_teacher(
    source: str,
    dataset: Dataset,
    threat_model: ThreatModel,
    *,
    name: str | None,
    accept_fragile: bool,
    progress: Progress,
    sha256: str | None = None,
    n: int = SAMPLE,
) -> tuple[Network, TeacherCard]:
    """Read the weights or the graph that `source` names, measure them on `n` images, and keep them in the cache.

    Where weights come from is said in jobs/zoo.py; a graph is adopted (jobs/adopt.py), and kept as a graph.

    What weights do not show is found by measuring, not by guessing: each activation and padding that the
    layout was published with, and, where the file brings no normalisation, each that is customary. The
    reading most accurate on clean images is attacked and kept. Raises ArtefactError for a file that is neither
    plain weights nor a graph, ConfigError for a name that is taken and a teacher that does not fit the data or
    resists nothing.
    """
    if is_graph(source):
        path = given_path(source)
        check_digest(digest := sha256_of(path), sha256, path)
        name = path.stem if name is None else name
        check_name(name, dataset, threat_model, digest)
        network, how = _adopted(source, dataset, progress)
        origin = f"imported from {path.name}, sha256 {digest}; {how}"
    else:
        weights = load_weights(source, sha256=sha256, progress=progress)
        name, digest = weights.name if name is None else name, weights.sha256
        check_name(name, dataset, threat_model, digest)
        network, readings = _most_accurate(weights, dataset, progress)
        origin = weights.origin if readings == 1 else f"{weights.origin}; the most accurate of {readings} readings"
    found = measure_teacher(network, dataset, threat_model, name=name, n=n, progress=progress)
    return keep_teacher(network, name, dataset, origin, found, digest, accept_fragile=accept_fragile)


def is_graph(source: str) -> bool:
    """Whether this names a file that becomes an ONNX graph, rather than weights of a network that is known here."""
    return Path(source).suffix in GRAPHS


def _adopted(source: str, dataset: Dataset, progress: Progress) -> tuple[Network, str]:
    """The graph as a network, and how its images are normalised: as it is most accurate on validation images."""
    sample = dataset.val.sample(SAMPLE, seed=0)
    pixels, labels = sample.images.contiguous().numpy(), sample.labels.numpy()
    found = adopt_model(ModelRequest(source=source), pixels, labels, progress=progress)
    network = graph_network(found.graph, mean=dataset.mean, std=dataset.std)
    check_fit(network.architecture, dataset, source)
    order = ", channels BGR" if found.adoption.order == "bgr" else ""
    return network, f"normalization {found.adoption.normalization.name}{order}"


def measure_teacher(
    network: Network, dataset: Dataset, threat_model: ThreatModel, *, name: str, n: int, progress: Progress
) -> Evaluation:
    """Clean and PGD accuracy on `n` validation images, drawn by class."""
    return attack_network(
        network,
        dataset.val.sample(n, seed=0),
        name=name,
        split="val",
        of=len(dataset.val),
        class_names=dataset.class_names,
        threat_model=threat_model,
        seed=0,
        progress=progress,
    ).evaluation


def check_fit(architecture: Architecture, dataset: Dataset, teacher: str) -> None:
    """Raises ConfigError where the network is not for such images, or not for so many classes."""
    shape = dataset.train.image_shape
    problems: list[str] = []
    if architecture.image_shape != shape:
        problems.append(f"it takes images {architecture.image_shape}, {dataset.name} has {shape}")
    if architecture.classes != dataset.classes:
        problems.append(f"it has {architecture.classes} classes, {dataset.name} has {dataset.classes}")
    if problems:
        raise ConfigError(
            problems_text(f"teacher {teacher} does not fit the data", problems) + "\nname its data set with --data"
        )


def _most_accurate(weights: Weights, dataset: Dataset, progress: Progress) -> tuple[Network, int]:
    """The reading most accurate on clean images, of equal ones that of lower cross-entropy; and how many there are."""
    families: tuple[Family, ...] = ("library",)
    if weights.library is None:
        families = families_of(weights.state, weights.source)
    moments = _moments(dataset)[: 1 if has_moments(weights.state) else None]
    pairs: list[tuple[Family, Moments]] = [(family, pair) for family in families for pair in moments]
    sample = dataset.val.sample(CHOICE, seed=0)
    best: tuple[tuple[float, float], Network] | None = None
    with progress.stage(f"{weights.source.name}: reading it in every way it may be meant", len(pairs)) as advance:
        for done, (family, pair) in enumerate(pairs, start=1):
            network = _network(weights, dataset, family, pair)
            check_fit(network.architecture, dataset, str(weights.source))
            score = _clean_score(network, sample) if len(pairs) > 1 else (0.0, 0.0)
            if best is None or score > best[0]:
                best = score, network
            advance(done, "")
    assert best is not None
    return best[1], len(pairs)


def _network(weights: Weights, dataset: Dataset, family: Family, moments: Moments) -> Network:
    library = weights.library
    if library is not None:
        return network_from_library(
            library.name,
            weights.state,
            weights.source,
            classes=library.classes,
            image_shape=library.image_shape,
            moments=moments,
        )
    return network_from_state(
        weights.state,
        weights.source,
        image_shape=dataset.train.image_shape,
        moments=moments,
        family=family,
        classes=dataset.classes,
    )


def _moments(dataset: Dataset) -> list[Moments]:
    """None, the data's own, and the customary ones."""
    channels = len(dataset.mean)
    customary = _CUSTOMARY if channels == 3 else ()
    pairs = (((0.0,) * channels, (1.0,) * channels), (dataset.mean, dataset.std), *customary)
    return [(torch.tensor(mean), torch.tensor(std)) for mean, std in pairs]


@torch.no_grad()
def _clean_score(network: Network, sample: Split) -> tuple[float, float]:
    """Correct answers, and the negative mean cross-entropy."""
    device = compute_device()
    network, sample = network.to(device), sample.to(device)
    logits = torch.cat([network(part) for part in to_float(sample.images).split(32)])
    return float((logits.argmax(1) == sample.labels).sum()), -float(F.cross_entropy(logits, sample.labels))
