"""Gradient rules against finite differences in float64, alone and in random graphs, at every opset's form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from edgerkd.graphs.rules import RULES
from edgerkd.graphs.twin import gradient_twin
from tests.graphs.reference import evaluator
from tests.graphs.rule_steps import BATCH, BY_DEFINITION, NOT_IN_FLOAT64, STEPS, Growing, is_in

OPSETS = (11, 13, 17, 18, 20)
STEP = 1e-6


def check(g: Growing, graph: bytes) -> None:
    """The twin's gradient along a direction is the difference of the logits, and no image's reaches another."""
    student, twin = evaluator(graph), evaluator(gradient_twin(graph))
    images = g.values["images"]
    cotangent, direction = g.rng.normal(size=(BATCH, 3)), g.rng.normal(size=images.shape)
    logits, gradient = twin.run(None, {"images": images, "cotangent": cotangent})
    assert gradient.shape == images.shape
    assert gradient.dtype == np.float64

    def value(x: np.ndarray) -> float:
        return float((student.run(None, {"images": x})[0] * cotangent).sum())

    slope = (value(images + STEP * direction) - value(images - STEP * direction)) / (2 * STEP)
    size = np.abs(gradient * direction).sum() + np.abs(logits * cotangent).sum()
    assert_allclose((gradient * direction).sum(), slope, atol=1e-6 * size + 1e-9)
    alone = cotangent * np.arange(BATCH)[:, None]
    assert_array_equal(twin.run(None, {"images": images, "cotangent": alone})[1][0], 0)


def test_each_rule_has_a_step_in_the_random_graphs():
    """Catches a rule that is added without a test."""
    assert set(RULES) == set(STEPS) | BY_DEFINITION | NOT_IN_FLOAT64


@pytest.mark.parametrize(("op", "opset"), [(op, opset) for op in sorted(STEPS) for opset in OPSETS if is_in(op, opset)])
def test_each_rule_alone_is_the_derivative(op, opset):
    """Catches a wrong sign, factor, axis or operand, and the form that the operator has at another opset."""
    for seed in range(3):
        g = Growing(opset, seed)
        check(g, g.finish(g.tamed(STEPS[op](g, "images"))))


@given(
    opset=st.sampled_from(OPSETS),
    seed=st.integers(0, 2**20),
    ops=st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=5),
)
@settings(max_examples=30, deadline=None)
def test_random_graphs_have_the_gradient_of_finite_differences(opset, seed, ops):
    """Catches rules that are right alone and wrong after one another: a shape, a type, a branch that is used twice."""
    g = Growing(opset, seed)
    x = "images"
    for op in ops:
        if is_in(op, opset):
            x = g.tamed(STEPS[op](g, x))
    check(g, g.finish(x))
