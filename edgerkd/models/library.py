"""Networks of torchvision and timm: built by the library, with taps found by tracing them.

torchvision takes a second to import: it is imported where a network needs it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.core.errors import ConfigError, MissingDependencyError, UnknownNameError
from edgerkd.models.network import Features, Network


class LibraryNetwork(Network):
    """The network `architecture.library` names.

    A tap is the output of the last part, up to two levels deep, at each resolution below the images' and
    above one place: the stages of a ResNet, for example. The penultimate vector is what the last linear
    map, or convolution, is applied to; of maps the mean over space. Both are ours. Raises ConfigError
    where such images have no taps, or the network does not take them.
    """

    def __init__(self, architecture: Architecture) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

        super().__init__(architecture)
        body = _body(architecture).eval()
        nodes = get_graph_node_names(body, suppress_diff_warning=True)[1]
        self.taps, self.before, self.last = _taps(body, nodes, architecture), _before_head(body, nodes), nodes[-1]
        self.body = create_feature_extractor(body, [*self.taps, self.before, self.last], suppress_diff_warning=True)

    def features(self, images: Tensor) -> Features:
        found = self.body((images - self.mean) / self.std)
        taps = tuple(found[node] for node in self.taps)
        return Features(found[self.last], taps, found[self.before][..., None].flatten(2).mean(2))


def check_library_name(library: str) -> None:
    """Raises UnknownNameError where `torchvision:NAME` or `timm:NAME` names no classifier of the library's.

    Raises MissingDependencyError where timm is not installed.
    """
    kind, _, name = library.partition(":")
    if kind == "timm":
        timm = load_timm(library)
        if not timm.is_model(name):
            raise UnknownNameError("network of timm's", name, timm.list_models())
        return
    from torchvision import models

    if name not in (known := models.list_models(module=models)):
        raise UnknownNameError("network of torchvision's", name, known)


def load_timm(expected: str) -> Any:  # Any: timm is optional, and has no types
    """timm. Raises MissingDependencyError, which says what is `expected` of it."""
    try:
        import timm  # type: ignore[import-not-found]  optional
    except ImportError as e:
        raise MissingDependencyError(f"{expected} needs timm, which is not installed: pip install timm") from e
    return timm


def _body(architecture: Architecture) -> nn.Module:
    assert architecture.library is not None
    return library_module(architecture.library, architecture.classes)


def library_module(library: str, classes: int) -> nn.Module:
    """The plain network `torchvision:NAME` or `timm:NAME`, with fresh weights. Raises as `check_library_name` does."""
    check_library_name(library)
    kind, _, name = library.partition(":")
    if kind == "timm":
        return load_timm(library).create_model(name, pretrained=False, num_classes=classes)
    from torchvision.models import get_model

    return get_model(name, weights=None, num_classes=classes)


def _taps(body: nn.Module, nodes: list[str], architecture: Architecture) -> tuple[str, ...]:
    """The node of each tap, the finest first. Maps are told from other tensors by the images' aspect ratio, rounded."""
    from torchvision.models.feature_extraction import create_feature_extractor

    shape = architecture.image_shape
    _, height, width = shape
    ends = list({".".join(node.split(".")[:2]): node for node in nodes}.values())
    extractor = create_feature_extractor(body, ends, suppress_diff_warning=True)
    last: dict[int, str] = {}
    with torch.no_grad():
        try:
            found = extractor(torch.zeros(1, *shape))
        except (AssertionError, RuntimeError) as e:  # what libraries raise for a size or a number of channels
            raise ConfigError(
                f"{architecture.library}: does not take images {shape}: {str(e).partition(chr(10))[0]}"
            ) from e
    for node, value in found.items():
        if not isinstance(value, Tensor) or value.ndim != 4:
            continue
        rows, columns = value.shape[2:]
        if 1 < rows < height and abs(rows * width - columns * height) < max(height, width):
            last[rows] = node
    if not last:
        raise ConfigError(f"{architecture.library}: has no feature maps to distil from for images {shape}")
    return tuple(last.values())


def _before_head(body: nn.Module, nodes: list[str]) -> str:
    """The node that the last linear map or convolution is applied to: the one before it."""
    layers = {name for name, module in body.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    return nodes[max(index for index, node in enumerate(nodes) if node in layers) - 1]
