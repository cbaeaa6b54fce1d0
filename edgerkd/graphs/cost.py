"""What a graph costs, counted on the graph itself. A stand-in until branch adopt's counting is merged."""

from math import prod

from edgerkd.core.architecture import Cost

_FLOAT = 4  # bytes of a float32


def graph_cost(graph: bytes) -> Cost:
    """The cost for one image: `params` in initializers, `macs` of convolutions and linear maps."""
    import onnx

    model = onnx.load_from_string(graph)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model = onnx.shape_inference.infer_shapes(model)
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    sizes = {v.name: prod(max(1, dim.dim_value) for dim in v.type.tensor_type.shape.dim) for v in values}
    weights = {w.name: tuple(w.dims) for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT}
    params, macs = sum(map(prod, weights.values())), 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in weights:
            macs += prod(weights[node.input[1]]) * (sizes[node.output[0]] // _outputs(node, weights[node.input[1]]))
    largest = max(sizes.values())
    return Cost(params=params, macs=macs, file_bytes=_FLOAT * params, peak_bytes=_FLOAT * (params + 3 * largest))


def _outputs(node: object, shape: tuple[int, ...]) -> int:
    """Output channels of a weight: first in a convolution's, last or first in a linear map's."""
    op = getattr(node, "op_type", "")
    transposed = any(a.name == "transB" and a.i for a in getattr(node, "attribute", ()))
    return shape[0] if op == "Conv" or transposed else shape[-1]
