"""What a gradient rule works with: the node it differentiates and the graph that grows backwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ExportError
from edgerkd.graphs.naming import Names
from edgerkd.graphs.shapes import Facts

FLOATS = (1, 10, 11)  # onnx.TensorProto.FLOAT, FLOAT16 and DOUBLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One node of the forward graph, with the gradients of its outputs."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    gradients: tuple[str, ...]
    """By output, the name of its gradient; empty where none reaches it."""
    varying: tuple[int, ...]
    """The inputs that depend on the images, for which a gradient is asked."""

    @property
    def x(self) -> str:
        """The first input."""
        return self.inputs[0]

    @property
    def y(self) -> str:
        """The first output."""
        return self.outputs[0]

    @property
    def gradient(self) -> str:
        """The gradient of the first output."""
        return self.gradients[0]

    def input(self, index: int) -> str:
        """The name of an input, empty where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def refusal(self, why: str) -> ExportError:
        """The error to raise for a form of the operator that has no rule."""
        return ExportError(f"{self.op} (node {self.name!r}) {why}")


@dataclass(slots=True)
class Tape:
    """The graph as it grows backwards."""

    facts: Facts
    opset: int
    names: Names
    steep: bool = False
    """Whether a gradient may be infinite or no number by now."""
    nodes: list[Any] = field(default_factory=list[Any])
    added: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    _known: dict[tuple[Any, ...], str] = field(default_factory=dict[tuple[Any, ...], str])

    def emit(self, op: str, *inputs: str, **attributes: Any) -> str:  # Any: whatever an ONNX attribute holds
        """Add one node; the name of its output."""
        from onnx import helper

        output = self.names.fresh(f"grad_{len(self.nodes)}")
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, value: NDArray[Any]) -> str:
        """Add one constant; its name. Equal ones are stored once."""
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = self.names.fresh(f"grad_constant_{len(self.added)}")
            self.added[self._known[key]] = value
        return self._known[key]

    def integers(self, values: Sequence[int]) -> str:
        """Add axes, sizes or places; their name."""
        return self.constant(np.asarray(values, np.int64))

    def numbers(self, value: Any, like: str) -> str:  # Any: a number or an array of them
        """Add a constant of the type of the forward tensor `like`; its name."""
        return self.constant(np.asarray(value).astype(self.dtype(like)))

    def dtype(self, name: str) -> np.dtype[Any]:
        """The NumPy type of a forward tensor."""
        from onnx import helper

        return np.dtype(helper.tensor_dtype_to_np_dtype(self.facts.types[name]))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a forward tensor; -k stands for k times the batch size."""
        return self.facts.shapes[name]

    def rank(self, name: str) -> int:
        """How many axes a forward tensor has."""
        return len(self.facts.shapes[name])

    def value(self, call: Call, index: int) -> NDArray[Any] | None:
        """The value of an input that must be constant; None where it is left out. Raises ExportError."""
        name = call.input(index)
        if not name:
            return None
        if name not in self.facts.values:
            raise call.refusal(f"has no gradient rule unless its input {name!r} is constant")
        return self.facts.values[name]


Rule = Callable[[Tape, Call], dict[int, str]]
"""The gradient of each input that varies, by its index, from the gradients of the outputs."""
