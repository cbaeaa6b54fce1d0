"""Where a teacher's weights come from: a file, an address, or a name in a public zoo.

No download is read before a digest pins it: torchvision's files carry the first digits of theirs in their
names, all others need `--sha256`. What timm loads by itself is kept only if it has the digest given.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from safetensors.torch import save
from torch import Tensor

from edgerkd.core.errors import ArtefactError, ConfigError, MissingDependencyError, UnknownNameError
from edgerkd.core.progress import Progress
from edgerkd.core.text import is_sha256
from edgerkd.files.atomic import sha256_of
from edgerkd.files.download import check_address, download
from edgerkd.files.paths import given_path
from edgerkd.jobs.teacher_cache import cache_folder
from edgerkd.models.library import check_library_name, load_timm
from edgerkd.models.teacher_file import read_state_dict

ROBUSTBENCH_FOLDER = Path("models/cifar10/Linf")  # where RobustBench's own loader leaves its files


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The network of torchvision's or timm's that weights belong to."""

    name: str
    classes: int
    image_shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Tensors by name; `name` is what to keep them under, `sha256` the digest that pins them.

    Without `library` their own names tell the network.
    """

    state: dict[str, Tensor]
    source: Path
    sha256: str
    name: str
    origin: str
    library: Library | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What RobustBench lists of a CIFAR-10 network: accuracies in percent, `robust` under AutoAttack, Linf 8/255."""

    architecture: str
    clean: float
    robust: float


ROBUSTBENCH = {
    "Zhang2019Theoretically": Published(architecture="WideResNet-34-10", clean=84.92, robust=53.08),
    "Wu2020Adversarial": Published(architecture="WideResNet-34-10", clean=85.36, robust=56.17),
    "Chen2021LTD_WRN34_10": Published(architecture="WideResNet-34-10", clean=85.21, robust=56.94),
    "Chen2021LTD_WRN34_20": Published(architecture="WideResNet-34-20", clean=86.03, robust=57.71),
    "Cui2023Decoupled_WRN-34-10": Published(architecture="WideResNet-34-10", clean=85.31, robust=57.09),
    "Addepalli2022Efficient_WRN_34_10": Published(architecture="WideResNet-34-10", clean=88.71, robust=57.81),
    "Addepalli2022Efficient_RN18": Published(architecture="ResNet-18", clean=85.71, robust=52.48),
    "Gowal2021Improving_28_10_ddpm_100m": Published(architecture="WideResNet-28-10", clean=87.50, robust=63.44),
    "Wang2023Better_WRN-28-10": Published(architecture="WideResNet-28-10", clean=92.44, robust=67.31),
    "Wong2020Fast": Published(architecture="PreActResNet-18", clean=83.34, robust=43.21),
}


def load_weights(source: str, *, sha256: str | None, progress: Progress) -> Weights:
    """The weights `source` names: FILE, https://ADDRESS, robustbench:NAME, torchvision:NAME or timm:NAME.

    With `sha256` they are those of that digest. Raises ArtefactError for others, ConfigError where a digest
    is needed and not given, UnknownNameError, and MissingDependencyError where they cannot be had here.
    """
    if sha256 is not None and not is_sha256(sha256):
        raise ConfigError(f"--sha256 {sha256!r}: a SHA-256 digest is 64 hexadecimal digits")
    kind, _, name = source.partition(":")
    if kind in _ZOOS:
        return _ZOOS[kind](name, sha256, progress)
    if kind in ("http", "https"):
        return _address(source, sha256, progress)
    return _file(given_path(source), sha256)


def _file(path: Path, sha256: str | None) -> Weights:
    check_digest(found := sha256_of(path), sha256, path)
    return Weights(
        state=read_state_dict(path),
        source=path,
        sha256=found,
        name=path.stem,
        origin=f"imported from {path.name}, sha256 {found}",
    )


def _address(url: str, sha256: str | None, progress: Progress) -> Weights:
    check_address(url)
    if sha256 is None:
        raise ConfigError(
            f"{url}: nothing pins this file. Add --sha256 HEX, as its publisher states it or as `sha256sum` gives it "
            "for a copy you trust"
        )
    path = _downloads() / sha256[:12].lower() / (PurePosixPath(urlsplit(url).path).name or "weights.pt")
    download(url, path, sha256=sha256, progress=progress)
    return _file(path, sha256)


def _robustbench(name: str, sha256: str | None, progress: Progress) -> Weights:
    """RobustBench publishes no digests, and we have checked none of its addresses: its own loader has to fetch."""
    if name not in ROBUSTBENCH:
        raise UnknownNameError("teacher of RobustBench's (import any other as a file)", name, ROBUSTBENCH)
    path = ROBUSTBENCH_FOLDER / f"{name}.pt"
    if not path.is_file():
        load = f"load_model('{name}', dataset='cifar10', threat_model='Linf')"
        raise MissingDependencyError(
            f"robustbench:{name}: {path} is not there, and edgerkd knows no digest or checked address to download it "
            f'by: fetch it with RobustBench itself, `python -c "from robustbench.utils import load_model; {load}"`, '
            "and repeat this command in the same folder with --data cifar10 and --sha256 HEX, as `sha256sum "
            f"{path}` gives it"
        )
    if sha256 is None:
        raise ConfigError(
            f"{path}: nothing pins this file. If you trust where it came from, add --sha256 {sha256_of(path)}"
        )
    found, listed = _file(path, sha256), ROBUSTBENCH[name]
    return Weights(
        state=found.state,
        source=path,
        sha256=found.sha256,
        name=name,
        origin=f"RobustBench {name}, {listed.architecture}, listed with {listed.clean} % clean and {listed.robust} % "
        f"under AutoAttack, sha256 {sha256.lower()}",
    )


def _torchvision(name: str, sha256: str | None, progress: Progress) -> Weights:
    """torchvision names its files after the first digits of their SHA-256."""
    from torchvision.models import get_model_weights

    check_library_name(f"torchvision:{name}")
    weights = get_model_weights(name).DEFAULT  # type: ignore[attr-defined]  every enumeration of weights has one
    file = PurePosixPath(urlsplit(weights.url).path).name
    pin = re.search(r"-([0-9a-f]{8,})\.pth$", file)
    assert pin is not None, file
    path = _downloads() / file
    download(weights.url, path, sha256=pin[1], progress=progress)
    found = _file(path, sha256)
    (size,) = weights.transforms().crop_size
    return Weights(
        state=found.state,
        source=path,
        sha256=found.sha256,
        name=f"torchvision-{name}",
        origin=f"torchvision {weights}, {found.origin}",
        library=Library(
            name=f"torchvision:{name}", classes=len(weights.meta["categories"]), image_shape=(3, size, size)
        ),
    )


def _timm(name: str, sha256: str | None, progress: Progress) -> Weights:
    """timm fetches its weights itself; the digest is of the tensors it returns, as one safetensors file."""
    timm = load_timm(f"timm:{name}")
    check_library_name(f"timm:{name}")
    try:
        with progress.stage(f"timm:{name}: loading", 0):
            network = timm.create_model(name, pretrained=True)
    except (RuntimeError, OSError) as e:
        raise MissingDependencyError(f"timm:{name}: timm cannot load it here: {e}") from e
    state: dict[str, Tensor] = {key: value.float().contiguous() for key, value in network.state_dict().items()}
    found = hashlib.sha256(save(state)).hexdigest()
    source = Path(f"timm:{name}")
    if sha256 is None:
        raise ConfigError(f"{source}: nothing pins these weights. If you trust timm's source, add --sha256 {found}")
    check_digest(found, sha256, source)
    return Weights(
        state=state,
        source=source,
        sha256=found,
        name=f"timm-{name}",
        origin=f"timm {name}, sha256 of its tensors {found}",
        library=Library(
            name=str(source), classes=network.num_classes, image_shape=tuple(network.pretrained_cfg["input_size"])
        ),
    )


_ZOOS: dict[str, Callable[[str, str | None, Progress], Weights]] = {
    "robustbench": _robustbench,
    "torchvision": _torchvision,
    "timm": _timm,
}


def _downloads() -> Path:
    return cache_folder().parent / "downloads"


def check_digest(found: str, expected: str | None, source: Path) -> None:
    """Raises ArtefactError where another digest is expected, if one is."""
    if expected is not None and found != expected.lower():
        raise ArtefactError(f"{source}: not the weights expected: their sha256 is {found}, --sha256 says {expected}")
