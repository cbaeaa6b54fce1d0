"""bench/variance_gap.py: which networks it trains, what it keeps, and what it says of them."""

import json
from types import ModuleType

import numpy as np
import pytest
import torch

from edgerkd.core.accuracy import accuracy_from_correct
from edgerkd.core.threat import ThreatModel
from edgerkd.core.units import Radius
from edgerkd.core.variance_gap import GAPS, GapPoint, Gaps, NetworkGaps, over_radii
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import METHODS, load_method
from edgerkd.models.network import Network
from tests import zoo
from tests.benches import bench

EPS = Radius("8/255")


@pytest.fixture(scope="module")
def gaps() -> ModuleType:
    return bench("variance_gap")


def measured(name: str, right: int, gap: float) -> NetworkGaps:
    """A network that resists on `right` of 20 images, its every gap `gap`; of one more, it is right on clean ones."""
    points = tuple(
        GapPoint(
            eps=eps,
            robust_acc=accuracy_from_correct([True] * hits + [False] * (20 - hits)),
            gaps=Gaps(**dict.fromkeys(GAPS, found)),
        )
        for eps, hits, found in ((Radius(0), right + 1, 0.0), (EPS, right, gap))
    )
    return NetworkGaps(
        name=name,
        architecture=zoo.architecture(),
        variance=1.0,
        within_share=0.5,
        points=points,
        r=over_radii(points),
    )


def test_the_networks_are_many_unlike_each_other_and_half_of_them_attacked(gaps):
    """Catches a name that stands for two networks, a method that is none, and settings that a method lacks."""
    names = [how.name for how in gaps.TRAINED]
    assert len(set(names)) == len(names) == 24
    attacked = [name for name in names if name.split(",")[0] not in gaps.NOT_ATTACKED]
    assert len(attacked) == 12
    assert {how.method for how in gaps.TRAINED} <= set(METHODS)
    threat_model = ThreatModel(norm="Linf", eps=EPS)
    for how in gaps.TRAINED:
        recipe_for(load_method(how.method), threat_model, epochs=how.epochs, settings=how.settings)


def test_a_student_is_trained_as_it_is_named(gaps):
    """Catches one seed for all, and a student of another shape than the data's."""
    data, threat_model = zoo.dataset(), ThreatModel(norm="Linf", eps=EPS)
    teacher = zoo.network(classes=3)
    one, two = (
        gaps.trained(gaps.Trained("standard", 1, seed), data=data, threat_model=threat_model, teacher=teacher)
        for seed in (0, 1)
    )
    assert isinstance(one, Network)
    assert (one.architecture.widths, one.architecture.classes) == (gaps.WIDTHS, 3)
    assert max((a - b).abs().max() for a, b in zip(one.parameters(), two.parameters(), strict=True)) > 1e-3
    assert all(torch.isfinite(weight).all() for weight in one.parameters())


def test_what_was_measured_is_kept_and_another_setting_refused(gaps, tmp_path):
    """Catches a stopped benchmark that begins again, and figures of two settings in one file."""
    path, setting = tmp_path / "gaps.json", {"data": "digits", "n": 20}
    kept = gaps.Kept(path, setting)
    kept.add(measured("standard, 5 epochs, seed 0", 2, 0.9), 3.25, {"cpu": "toy"})
    kept.add(measured("rslad, 5 epochs, seed 0", 15, 0.1), 4.0, {"cpu": "toy"})
    again = gaps.Kept(path, setting)
    assert again.networks == kept.networks
    assert again.seconds == {"standard, 5 epochs, seed 0": 3.2, "rslad, 5 epochs, seed 0": 4.0}
    assert json.loads(path.read_text())["machine"] == {"cpu": "toy"}
    with pytest.raises(SystemExit, match="another setting"):
        gaps.Kept(path, {**setting, "n": 21})


def test_all_networks_and_the_attacked_ones_are_told_apart(gaps, capsys):
    """Catches students without adversarial images among those with, another sign, and an interval of another n."""
    points = [("standard", 2, 0.9), ("mixacm", 8, 0.8), ("rslad", 10, 0.1), ("trades", 12, 0.3), ("pgd-at", 14, 0.35)]
    networks = [measured(f"{name}, 5 epochs, seed 0", right, gap) for name, right, gap in points]
    gaps.show({each.name: each for each in networks}, EPS)
    every, attacked = capsys.readouterr().out.split("\n\n")[1].splitlines()[-2:]
    assert every.startswith("all 5 networks")
    assert attacked.startswith("3 trained on attacks")
    assert "-0.77 [-0.98, +0.36]" in every
    assert attacked.split()[4:] == ["+1.00", *["+0.94"] * 6]


def test_what_clean_accuracy_explains_is_taken_out(gaps, rng):
    """Catches a plain correlation, and only one of the two freed of what both share."""
    x, y, z = rng.normal(size=(3, 30))
    x, y = x + 3 * z, y - 0.5 * x - 3 * z
    line = np.stack([np.ones(30), z], 1)
    left = [values - line @ np.linalg.lstsq(line, values, rcond=None)[0] for values in (x, y)]
    found = gaps.partial_r(x.tolist(), y.tolist(), z.tolist())
    assert found == pytest.approx(np.corrcoef(*left)[0, 1])
    assert abs(found - np.corrcoef(x, y)[0, 1]) > 0.1
    assert gaps.partial_r([1, 2, 4], [3, 5, 4], [2, 2, 2]) is None
    assert gaps.partial_r([1, 2, 4], [3, 5, 4], [1, 2, 4]) is None
