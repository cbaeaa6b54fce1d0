"""bench/roofline.py and bench/step_time.py: what a step is held against."""

from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from tests.benches import bench
from tests.zoo import dataset, network

THREAT = ThreatModel(norm="Linf", eps=Radius("8/255"))


@pytest.fixture(scope="module")
def roofline() -> ModuleType:
    return bench("roofline")


def test_what_a_step_computes_is_counted_and_what_it_only_moves_is_not(roofline):
    """Catches gradients that are left out, a copy that counts, and bytes counted of one side alone."""
    images, weight = torch.rand(2, 3, 8, 8), torch.rand(4, 3, 3, 3, requires_grad=True)
    with roofline.Recorder() as recorder:
        maps = F.conv2d(images.clone(), weight)
    assert recorder.products.total() == 1
    assert not recorder.moved
    with roofline.Recorder() as recorder:
        F.relu(maps)
    assert recorder.moved == {2 * maps.nbytes: 1}
    images.requires_grad_()
    for wanted, count in (((weight,), 1), ((images, weight), 2)):
        with roofline.Recorder() as recorder:
            torch.autograd.grad(F.conv2d(images, weight), wanted, maps.detach())
        assert recorder.products.total() == 1 + count


def test_a_step_is_told_with_its_parts(monkeypatch, capsys):
    """Catches parts that do not add up to the step, a part of another run, and a bound that nothing is in."""
    step_time = bench("step_time")
    for name, value in (("BLOCKS", (2**18,)), ("TIMES", 1)):
        monkeypatch.setitem(step_time.bound_of.__globals__, name, value)
    data = dataset(n=64)
    teacher = network(classes=3).eval()
    loop = step_time.loop_of("edgerkd", teacher.architecture, data, THREAT, teacher, 16)
    found = step_time.step_time(loop, rounds=2)
    assert list(found.parts) == ["augmentation", "attack", step_time.REST, "optimiser", "averaging"]
    assert [sum(each) for each in zip(*found.parts.values(), strict=True)] == pytest.approx(found.seconds)
    assert 0 < found.bound.moved < found.bound.seconds
    found.show()
    assert "ratio" in capsys.readouterr().out
