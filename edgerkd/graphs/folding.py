"""Weights that a graph dequantises anew in each run, computed once.

Runtimes leave such nodes where they are, to fuse them into integer kernels. A gradient twin has no integer kernels: of
an int8 graph of ours it took 1.9 times as long, because a convolution whose weight is no constant has a slower kernel.
"""

from typing import Any

Model = Any  # onnx.ModelProto; onnx is not installed on devices and is imported only when a twin is made
_ROUNDING = ("QuantizeLinear", "DequantizeLinear")
_OPSET = 21  # ONNX's evaluator has no quantisers of older ones


def fold_weights(model: Model) -> None:
    """Put an initializer in the place of each quantiser and dequantiser of constants, with what it gives by ONNX."""
    from onnx import numpy_helper

    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    folded: dict[str, Any] = {}
    nodes: list[Any] = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            known.update(_given(node, {}))
        if node.op_type in _ROUNDING and all(name in known for name in node.input if name):
            folded |= _given(node, {name: known[name] for name in node.input if name})
            known |= folded
        else:
            nodes.append(node)
    needed = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    initializers += [numpy_helper.from_array(value, name) for name, value in folded.items() if name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(initializers)


def _given(node: Any, values: dict[str, Any]) -> dict[str, Any]:
    """What one node gives of these inputs: the same in all opsets that have it."""
    from onnx.reference import ReferenceEvaluator

    evaluator: Any = ReferenceEvaluator(node, opsets={"": _OPSET})  # Any: it is only partly typed
    return dict(zip(node.output, evaluator.run(None, values), strict=True))
