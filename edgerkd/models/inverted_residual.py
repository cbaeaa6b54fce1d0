"""What MobileNetV2 and V3 share: inverted residuals, and the network made of them.

Source: Sandler et al. 2018, arXiv 1801.04381, section 3.3 and table 2.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from edgerkd.core.architecture import Architecture
from edgerkd.models.network import Features, Network, conv, pooled, stem_stride
from edgerkd.models.stages import activated_outputs_of, strides_of

_EXPANSION = 6  # table 2; its first stage has 1, as that of MobileNetV3 has


def conv_bn(
    inputs: int, outputs: int, size: int, activation: nn.Module, *, stride: int = 1, groups: int = 1
) -> nn.Module:
    """Convolution, batch norm, activation."""
    return nn.Sequential(conv(inputs, outputs, size, stride, groups), nn.BatchNorm2d(outputs), activation)


class InvertedResidual(nn.Module):
    """Expand by 1 x 1, filter each channel by 3 x 3, `excite`, project by 1 x 1 without activation; add the input."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, expansion: int, activation: nn.Module, excite: nn.Module
    ) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.expand = conv_bn(inputs, hidden, 1, activation) if expansion > 1 else nn.Identity()
        self.depthwise = conv_bn(hidden, hidden, 3, activation, stride=stride, groups=hidden)
        self.excite = excite
        self.project = conv_bn(hidden, outputs, 1, nn.Identity())
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and its expanded, activated input."""
        expanded = self.expand(x)
        out = self.project(self.excite(self.depthwise(expanded)))
        return (x + out if self.adds else out), expanded


class InvertedResidualNetwork(Network):
    """Stem, stages, a 1 x 1 convolution to `head` channels, global average pool, `neck`, linear.

    A stage's output is linear. Its tap is that output as the next layer sees it: expanded and
    activated, as in section 6.2 of the paper, where detectors take the expansion as their features.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        stem: nn.Module,
        activations: Sequence[nn.Module],
        excite: Callable[[int], nn.Module],
        head: int,
        neck: nn.Module,
        penultimate: int,
    ) -> None:
        """`activations` has one entry a stage, `excite` makes what stands after a depthwise convolution of n channels;
        `neck` maps vectors of `head` to vectors of `penultimate`.
        """
        super().__init__(architecture)
        width = architecture.widths[0]
        self.stem = conv_bn(architecture.channels, width, 3, stem, stride=stem_stride(architecture))
        self.stages = nn.ModuleList()
        for index, (outputs, count) in enumerate(zip(architecture.widths, architecture.blocks, strict=True)):
            expansion = _EXPANSION if index > 0 else 1
            stage = nn.ModuleList()
            for stride in strides_of(index, count):
                stage.append(
                    InvertedResidual(width, outputs, stride, expansion, activations[index], excite(expansion * width))
                )
                width = outputs
            self.stages.append(stage)
        self.head = conv_bn(width, head, 1, activations[-1])
        self.neck = neck
        self.linear = nn.Linear(penultimate, architecture.classes)

    def features(self, images: Tensor) -> Features:
        x = self.stem((images - self.mean) / self.std)
        x, taps = activated_outputs_of(self.stages, x)
        taps.append(self.head(x))
        penultimate = self.neck(pooled(taps[-1]))
        return Features(self.linear(penultimate), tuple(taps), penultimate)
