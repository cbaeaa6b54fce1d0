"""MobileNetV2. Source: Sandler et al. 2018, arXiv 1801.04381, table 2."""

from torch import nn

from edgerkd.core.architecture import Architecture
from edgerkd.models.inverted_residual import InvertedResidualNetwork


class MobileNetV2(InvertedResidualNetwork):
    """Inverted residuals with ReLU6. The head is 4 times as wide as the last stage, as 1280 is to the paper's 320."""

    def __init__(self, architecture: Architecture) -> None:
        relu6, head = nn.ReLU6(), 4 * architecture.widths[-1]
        super().__init__(
            architecture,
            stem=relu6,
            activations=[relu6] * len(architecture.widths),
            excite=lambda channels: nn.Identity(),
            head=head,
            neck=nn.Identity(),
            penultimate=head,
        )
