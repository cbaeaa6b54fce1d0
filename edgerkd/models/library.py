"""Networks of torchvision and timm: built by the library, with taps found by tracing them.

torchvision takes a second to import: it is imported where a network needs it.
"""

import torch
from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.core.errors import ConfigError, MissingDependencyError, UnknownNameError
from edgerkd.models.network import Features, Network


class LibraryNetwork(Network):
    """The network `architecture.library` names.

    A tap is the output of the last part, up to two levels deep, at each resolution below the images':
    the stages of a ResNet, for example. The penultimate vector is the last tap's mean over space. Both are ours.
    """

    def __init__(self, architecture: Architecture) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

        super().__init__(architecture)
        body = _body(architecture).eval()
        nodes = get_graph_node_names(body, suppress_diff_warning=True)[1]
        self.taps, self.last = _taps(body, nodes, architecture), nodes[-1]
        self.body = create_feature_extractor(body, [*self.taps, self.last], suppress_diff_warning=True)

    def features(self, images: Tensor) -> Features:
        found = self.body((images - self.mean) / self.std)
        taps = tuple(found[node] for node in self.taps)
        return Features(found[self.last], taps, taps[-1].mean((2, 3)))


def check_torchvision_name(name: str) -> None:
    """Raises UnknownNameError where torchvision has no classifier of that name."""
    from torchvision import models

    if name not in (known := models.list_models(module=models)):
        raise UnknownNameError("network of torchvision's", name, known)


def _body(architecture: Architecture) -> nn.Module:
    assert architecture.library is not None
    library, _, name = architecture.library.partition(":")
    if library == "torchvision":
        from torchvision.models import get_model

        check_torchvision_name(name)
        return get_model(name, weights=None, num_classes=architecture.classes)
    try:
        import timm  # type: ignore[import-not-found]  optional
    except ImportError as e:
        raise MissingDependencyError(
            f"{architecture.library} needs timm, which is not installed: pip install timm"
        ) from e
    return timm.create_model(name, pretrained=False, num_classes=architecture.classes)


def _taps(body: nn.Module, nodes: list[str], architecture: Architecture) -> tuple[str, ...]:
    """The node of each tap, the finest first. Maps are told from other tensors by the images' aspect ratio."""
    from torchvision.models.feature_extraction import create_feature_extractor

    _, height, width = architecture.image_shape
    ends = list({".".join(node.split(".")[:2]): node for node in nodes}.values())
    extractor = create_feature_extractor(body, ends, suppress_diff_warning=True)
    last: dict[int, str] = {}
    with torch.no_grad():
        for node, value in extractor(torch.zeros(1, *architecture.image_shape)).items():
            if not isinstance(value, Tensor) or value.ndim != 4:
                continue
            rows, columns = value.shape[2:]
            if 1 < rows < height and rows * width == columns * height:
                last[rows] = node
    if not last:
        raise ConfigError(f"{architecture.library}: has no feature maps to distil from for images of {height}x{width}")
    return tuple(last.values())
