"""Who makes and who takes each tensor of a graph, and what follows from the images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerkd.core.errors import ExportError
from edgerkd.core.text import LONGEST_NAME, printable
from edgerkd.graphs.entry import goes_on_front
from edgerkd.graphs.values import Model, Node

_ACTIVATIONS = ("Relu", "Clip")
_MOVING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout")
_NONNEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp")
_KEEPING_SIGN = (*_MOVING, "AveragePool", "GlobalAveragePool", "ReduceMean", "Add", "Mul", "Concat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """By the name of a tensor: `makers` its node, `takers` those that read it, `constants` its value.

    `varying` are the tensors that follow from `images`, `front` those of them that nothing but a
    normalization made (`goes_on_front`).
    """

    makers: dict[str, Node]
    takers: dict[str, list[Node]]
    constants: dict[str, NDArray[Any]]
    varying: frozenset[str]
    front: frozenset[str]

    @classmethod
    def of(cls, model: Model) -> "Wiring":
        """That of an ONNX model whose input is `images`."""
        from onnx import helper, numpy_helper

        graph = model.graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        takers: dict[str, list[Node]] = {value.name: [] for value in graph.output}
        varying, front = {"images"}, {"images"}
        for node in graph.node:
            for name in node.input:
                takers.setdefault(name, []).append(node)
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                constants[node.output[0]] = numpy_helper.to_array(helper.get_attribute_value(node.attribute[0]))
            if goes_on_front(node, varying, front):
                front.update(node.output)
            if varying.intersection(node.input):
                varying.update(filter(None, node.output))
        return cls(
            makers={name: node for node in graph.node for name in node.output},
            takers=takers,
            constants=constants,
            varying=frozenset(varying),
            front=frozenset(front),
        )

    def end(self, name: str) -> str:
        """What a tensor is after the activations that alone read it, such as a ReLU: kernels fuse them."""
        while [node.op_type in _ACTIVATIONS for node in self.takers.get(name, [])] == [True]:
            name = self.takers[name][0].output[0]
        return name

    def source(self, name: str) -> str:
        """The tensor whose values this one has, in another place or shape, or the largest of them."""
        while name in self.makers and self.makers[name].op_type in _MOVING:
            name = self.makers[name].input[0]
        return name

    def nonnegative(self, name: str) -> bool:
        """Whether a tensor can have no value below zero, whatever the images: not only on those that were seen."""
        node = self.makers.get(name)
        if node is None:
            return name in self.constants and bool((self.constants[name] >= 0).all())
        if node.op_type == "Clip":
            low = node.input[1] if len(node.input) > 1 else ""
            return bool(low) and low in self.constants and bool((self.constants[low] >= 0).all())
        if node.op_type in _KEEPING_SIGN:
            data = node.input if node.op_type in ("Add", "Mul", "Concat") else node.input[:1]
            return all(self.nonnegative(each) for each in data)
        return node.op_type in _NONNEGATIVE


def edited(graph: bytes, change: Callable[[Model], None]) -> bytes:
    """The graph after a change of its nodes and constants, checked. What no node reads is left out.

    Raises ExportError where the changed graph is no valid ONNX.
    """
    import onnx

    model = onnx.load_from_string(graph)
    change(model)
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    content = model.SerializeToString()
    checker: Any = onnx.checker  # Any: its functions are only partly typed
    try:
        checker.check_model(content, full_check=True)
    except (checker.ValidationError, onnx.shape_inference.InferenceError) as e:
        reason = printable(" ".join(str(e).split()), LONGEST_NAME)
        raise ExportError(f"the graph cannot be brought to this precision, ONNX's checker says: {reason}") from e
    return content


def put(model: Model, name: str, value: Any) -> str:  # Any: an array or a NumPy number
    """Add a constant; its name."""
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name
