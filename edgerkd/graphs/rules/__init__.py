"""Reverse mode for ONNX: one rule an operator, from the gradients of its outputs to those of its inputs."""

from edgerkd.graphs.rules import (
    convolution,
    elementwise,
    matrix,
    normalization,
    pooling,
    quantize,
    reduce,
    resize,
    shape,
)
from edgerkd.graphs.rules.tape import Rule

RULES: dict[str, Rule] = {
    **convolution.RULES,
    **elementwise.RULES,
    **matrix.RULES,
    **normalization.RULES,
    **pooling.RULES,
    **quantize.RULES,
    **reduce.RULES,
    **resize.RULES,
    **shape.RULES,
}
