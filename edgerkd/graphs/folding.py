"""Weights that a graph dequantises anew in each run, computed once.

Runtimes leave such nodes where they are, to fuse them into integer kernels. A gradient twin has no integer kernels: of
an int8 graph of ours it took 1.9 times as long, because a convolution whose weight is no constant has a slower kernel.
"""

from typing import Any

from edgerkd.graphs.values import Model, opset_of, outputs_of

_ROUNDING = ("QuantizeLinear", "DequantizeLinear")


def fold_weights(model: Model) -> None:
    """Put an initializer in the place of each quantiser and dequantiser of constants, with what it gives by ONNX."""
    from onnx import numpy_helper

    if not any(node.op_type in _ROUNDING for node in model.graph.node):
        return
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    folded: set[str] = set()
    nodes: list[Any] = []
    for node in model.graph.node:
        inputs: list[str] = [name for name in node.input if name]
        given = {name: known[name] for name in inputs if name in known}
        constant = node.op_type in _ROUNDING and all(name in given for name in inputs)
        if constant or node.op_type == "Constant":
            known |= outputs_of(node, given, opset_of(model))
        if constant:
            folded |= set(node.output)
        else:
            nodes.append(node)
    needed = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    initializers += [numpy_helper.from_array(known[name], name) for name in sorted(folded & needed)]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(initializers)
