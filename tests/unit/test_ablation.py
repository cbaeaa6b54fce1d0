"""bench/ablation.py: what each configuration leaves out, and how orders are counted."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgerkd.core.recipe import Recipe
from tests import zoo

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    """The benchmark as a module; it finds its neighbours as it does when run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        spec = importlib.util.spec_from_file_location("ablation", BENCH / "ablation.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "ablation", module)
        spec.loader.exec_module(module)
        return module


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("ACM", (1, 1, 0, 0)),
        ("ACM + soft labels", (1, 1, 1, 0)),
        ("ACM + mixup", (1, 1, 0, 1)),
        ("all three", (1, 1, 1, 1)),
        ("KD only", (1, 0, 1, 0)),
    ],
)
def test_each_configuration_leaves_out_what_its_name_does_not_say(ablation, name, weights):
    """Catches two configurations exchanged, and one whose last layer nothing trains."""
    data = zoo.dataset()
    recipe = Recipe(method="mixacm", threat_model=data.threat_model, epochs=1, **ablation.CONFIGURATIONS[name])
    found = (recipe.weight_label, recipe.weight_acm, recipe.weight_kld, recipe.mixup_alpha)
    assert tuple(value > 0 for value in found) == tuple(map(bool, weights))


def test_one_student_is_trained_and_attacked(ablation):
    """Catches figures of another attack, and a stronger attack that leaves more than a weaker one."""
    data = zoo.dataset()
    base = Recipe(method="mixacm", threat_model=data.threat_model, epochs=1, batch=16)
    small = zoo.architecture(classes=3, blocks=(1, 1))
    found = ablation.measure(
        "ACM + mixup", 7, base=base, architecture=small, teacher=zoo.network(classes=3), data=data, n=6
    )
    assert (found.configuration, found.seed) == ("ACM + mixup", 7)
    assert 0 <= found.apgd <= found.pgd <= found.clean
    assert found.clean * 6 == round(found.clean * 6)


def test_orders_and_their_pairs(ablation):
    """Catches an order from the highest down, a tie called a rise, and the configuration that was not published."""
    published = ablation.PUBLISHED
    assert ablation.order(published) == "ACM < ACM + soft labels < ACM + mixup < all three"
    assert ablation.pairs_in_order(published) == 6
    swapped = {**published, "ACM + mixup": 49.0, "KD only": 1.0}
    assert ablation.order(swapped) == "KD only < ACM < ACM + mixup < ACM + soft labels < all three"
    assert ablation.pairs_in_order(swapped) == 5
    assert ablation.order({"a": 1.0, "b": 1.0, "c": 0.5}) == "c < a = b"
    assert ablation.pairs_in_order(dict.fromkeys(published, 1.0)) == 0


def test_the_table_has_means_and_spans_of_the_seeds(ablation, capsys):
    """Catches a figure of one seed shown as the mean, and PGD's order under APGD's name."""
    results = [
        ablation.Result(configuration=name, seed=seed, clean=0.9, pgd=0.5 + seed / 10, apgd=k / 10, seconds=1)
        for k, name in enumerate(ablation.CONFIGURATIONS)
        for seed in (0, 2)
    ]
    ablation.show(results)
    out = capsys.readouterr().out
    assert out.count("60.0 (50.0-70.0)") == 5
    assert "ACM < ACM + soft labels < ACM + mixup < all three < KD only   6 of 6 pairs" in out
    assert "ACM = ACM + soft labels = ACM + mixup = all three = KD only   0 of 6 pairs" in out
