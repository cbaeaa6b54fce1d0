"""An engine built elsewhere, adapted by NumPy, answers as the adopted graph."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from edgerkd.bundle.adapted import AdaptedEngine
from edgerkd.core.engine import DeviceRecord
from edgerkd.core.errors import ConfigError, EngineError
from edgerkd.graphs.adopt import adopt
from tests.graphs.test_adopt import CASES, GIVEN, F, images, run, session, small


class Foreign:
    """A live engine of the user's own graph."""

    backend, version, device = "other", "1", DeviceRecord(kind="cpu", name="here")

    def __init__(self, model: bytes) -> None:
        self.session, self.sizes, self.closed = session(model), [], False

    def __call__(self, *inputs):
        self.sizes.append(len(inputs[0]))
        return tuple(self.session.run(None, {self.session.get_inputs()[0].name: inputs[0]}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True


@pytest.mark.parametrize("case", [name for name in CASES if name not in ("named-inside", "dynamic-sides")])
def test_an_adapted_engine_agrees_with_the_adopted_graph(case):
    """Catches another normalization, order, layout, rounding or type in NumPy than in the graph, and a lost softmax."""
    original, options, _, removed = CASES[case]
    found = adopt(original, **options)
    batch = found.adoption.fixed_batch
    with AdaptedEngine(Foreign(original), found.adoption, batch=batch) as engine:
        (logits,) = engine(images())
    expected = run(found.graph, images())[0]
    if removed in ("softmax", "log_softmax"):  # up to a constant an image
        logits, expected = (z - z.max(1, keepdims=True) for z in (logits, expected))
    assert logits.dtype == np.float32
    assert_allclose(logits, expected, rtol=1e-5, atol=1e-2 if case == "float16" else 2e-5)


def test_a_fixed_batch_is_split_and_filled_up_and_no_filling_is_answered():
    """Catches rows of the filling among the answers, and a batch that the engine does not take."""
    original = small(x=("x", F, [2, 3, 8, 8]), out=("z", F, [2, 4]))
    found, foreign = adopt(original), Foreign(original)
    with AdaptedEngine(foreign, found.adoption, batch=2) as engine:
        (logits,) = engine(images(5))
    assert foreign.sizes == [2, 2, 2]
    assert foreign.closed
    assert_allclose(logits, run(found.graph, images(5))[0], rtol=1e-5, atol=1e-5)


def test_one_sigmoid_gives_two_logits():
    """Catches classes exchanged, and a difference of twice the logit."""
    original = small(
        ("Slice", ["z", "a", "b", "b"], ["y"], {}),
        ("Sigmoid", ["y"], ["s"], {}),
        out=("s", F, ["n", 1]),
        weights={"a": np.int64([0]), "b": np.int64([1])},
    )
    found = adopt(original, normalization=GIVEN)
    (logits,) = AdaptedEngine(Foreign(original), found.adoption)(images())
    assert_allclose(logits, run(found.graph, images())[0], rtol=5e-3, atol=1e-3)  # float32 near 1 has few digits


def test_a_probability_of_zero_has_a_finite_logit():
    """Catches minus infinity, which the attacks take for a failed engine."""
    found = adopt(CASES["softmax"][0])

    class Sure(Foreign):
        def __call__(self, *inputs):
            return (np.tile(np.float32([1, 0, 0, 0]), (len(inputs[0]), 1)),)

    (logits,) = AdaptedEngine(Sure(CASES["softmax"][0]), found.adoption)(images())
    assert np.isfinite(logits).all()
    assert (logits.argmax(1) == 0).all()


def test_what_numpy_does_not_do_and_what_the_engine_does_not_have_is_refused():
    """Catches images of another size handed to the engine, and a traceback for a missing output."""
    original = small()
    adoption = adopt(original).adoption
    with pytest.raises(ConfigError, match=r"resized inside the adopted graph"):
        AdaptedEngine(Foreign(original), dataclasses.replace(adoption, resized_from=(5, 7)))
    with pytest.raises(EngineError, match="has 1 outputs, and none at place 1"):
        AdaptedEngine(Foreign(original), dataclasses.replace(adoption, output_place=1))(images())
