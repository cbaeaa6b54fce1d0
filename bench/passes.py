"""What training costs, free of the machine: images that go through networks, and multiply-adds."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.modules.module import register_module_forward_hook

from edgerkd.distill import replay
from edgerkd.distill.methods.method import Terms


@dataclass(slots=True)
class Work:
    """Passes of one image through one network, forward and backward, and multiply-adds of convolutions and linear maps.

    A layer's backward pass is as many multiply-adds as its forward pass for the gradient in its input, and as many
    again for that in its weights; each only where it is asked for.
    """

    forward: int = 0
    backward: int = 0
    macs: int = 0

    def add(self, other: "Work", times: int = 1) -> None:
        """This much more."""
        self.forward += times * other.forward
        self.backward += times * other.backward
        self.macs += times * other.macs


class Passes:
    """Counts the work of all networks for images of this shape while it is open, of copies made meanwhile as well.

    Passes are counted at each convolution that sees an image itself: a network's first. What a recorded step repeats
    on a GPU no layer sees: the work of its recording counts for each repetition.
    """

    def __init__(self, image_shape: tuple[int, ...]) -> None:
        self.work = Work()
        self._image_shape = image_shape

    def __enter__(self) -> "Passes":
        with ExitStack() as stack:
            stack.callback(register_module_forward_hook(self._count).remove)
            stack.enter_context(patch.object(replay, "on_gpu", self._counted(replay.on_gpu)))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _counted(self, record: replay.Record) -> replay.Record:
        """Recordings of which each repetition counts, and not the recording, which computes nothing."""

        def recorded(work: Callable[[], Terms]) -> replay.Again:
            before = replace(self.work)
            again = record(work)
            each = replace(self.work)
            each.add(before, -1)
            self.work.add(each, -1)

            def counted() -> Terms:
                self.work.add(each)
                return again()

            return counted

        return recorded

    def _count(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # Any: of whichever module
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            return
        work, each = self.work, layer.weight[0].numel()
        macs = output.numel() * each
        first = isinstance(layer, nn.Conv2d) and tuple(inputs[0].shape[1:]) == self._image_shape
        work.macs += macs
        work.forward += len(output) * first
        if not output.requires_grad:
            return

        def back(gradient: Tensor) -> None:
            work.macs += macs * (_asked(inputs[0], alone=True) + _asked(layer.weight, alone=False))
            work.backward += len(gradient) * first

        output.register_hook(back)


def _asked(value: Tensor, *, alone: bool) -> bool:
    """Whether the backward pass under way computes this gradient; `alone` where only some were asked for.

    torch does not say of a leaf whether it is among those of `torch.autograd.grad`: attacks ask for the images' alone.
    """
    if not value.requires_grad:
        return False
    try:
        return torch._C._will_engine_execute_node(get_gradient_edge(value).node)
    except RuntimeError:
        return alone
