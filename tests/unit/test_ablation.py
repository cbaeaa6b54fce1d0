"""bench/ablation.py: what each configuration leaves out, and how orders are counted."""

from types import ModuleType

import pytest

from tests import zoo
from tests.benches import bench
from tests.recipes import recipe_of


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    return bench("ablation")


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
    recipe = recipe_of("mixacm", **ablation.CONFIGURATIONS[name])
    found = [recipe.options[name] for name in ("weight_label", "weight_acm", "weight_kld", "mixup_alpha")]
    assert tuple(value > 0 for value in found) == tuple(map(bool, weights))


def test_one_student_is_trained_and_attacked(ablation):
    """Catches figures of another attack, and a stronger attack that leaves more than a weaker one."""
    data = zoo.dataset()
    base = recipe_of("mixacm", batch=16)
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


def results(ablation, apgd, seeds=(0, 2)):
    """A result for each configuration and seed: APGD's figure is `apgd(k, seed)` of the k-th configuration."""
    given = {"n": 100, "clean": 0.9, "seconds": 1}
    return [
        ablation.Result(configuration=name, seed=seed, pgd=0.5 + seed / 10, apgd=apgd(k, seed), **given)
        for k, name in enumerate(ablation.CONFIGURATIONS)
        for seed in seeds
    ]


def test_the_table_has_means_and_spans_of_the_seeds(ablation, capsys):
    """Catches a figure of one seed shown as the mean, and PGD's order under APGD's name."""
    ablation.show(results(ablation, lambda k, seed: k / 10))
    out = capsys.readouterr().out
    assert out.count("60.0 (50.0-70.0)") == 5
    assert "ACM < ACM + soft labels < ACM + mixup < all three < KD only   6 of 6 pairs as published, 6 beyond" in out
    assert "ACM = ACM + soft labels = ACM + mixup = all three = KD only   0 of 6 pairs as published, 0 beyond" in out


def test_pairs_within_the_spread_are_told_from_those_beyond(ablation, capsys):
    """Catches an order that another seed, or other images, would turn round, counted as found."""
    ablation.show(results(ablation, lambda k, seed: (k + seed / 2) / 10))
    assert "6 of 6 pairs as published, 3 beyond the spread" in capsys.readouterr().out
    ablation.show(results(ablation, lambda k, seed: 0.3 + k / 10, seeds=(0,)))
    out = capsys.readouterr().out
    assert "30.0 (21.9-39.6)" in out
    assert "6 of 6 pairs as published, 3 beyond the spread" in out
