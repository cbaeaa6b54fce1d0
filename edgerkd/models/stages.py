"""What families made of stages share: how blocks are laid out, and how images go through them."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from edgerkd.core.architecture import Architecture

Block = Callable[[int, int, int], nn.Module]
"""(input channels, output channels, stride) -> a block"""


def strides_of(index: int, count: int) -> list[int]:
    """The stride of each block of a stage: the first block of every stage but the first halves the resolution."""
    return [1 if index == 0 else 2] + [1] * (count - 1)


def blocks_of(architecture: Architecture, block: Block, *, inputs: int) -> list[list[nn.Module]]:
    """The blocks of each stage, `inputs` channels entering the first."""
    stages: list[list[nn.Module]] = []
    for index, (outputs, count) in enumerate(zip(architecture.widths, architecture.blocks, strict=True)):
        stage: list[nn.Module] = []
        for stride in strides_of(index, count):
            stage.append(block(inputs, outputs, stride))
            inputs = outputs
        stages.append(stage)
    return stages


def outputs_of(stages: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, ...]:
    """What each stage hands on."""
    taps: list[Tensor] = []
    for stage in stages:
        x = stage(x)
        taps.append(x)
    return tuple(taps)


def activated_outputs_of(stages: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What the last stage hands on, and each other stage's output as the next one's first block activates it.

    For blocks that return their output and their activated input.
    """
    taps: list[Tensor] = []
    for index, stage in enumerate(stages):
        for number, block in enumerate(stage):  # type: ignore[arg-type]  a ModuleList iterates over modules
            x, activated = block(x)
            if index > 0 and number == 0:
                taps.append(activated)
    return x, taps
