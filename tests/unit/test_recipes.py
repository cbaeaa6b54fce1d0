"""Settings: of the recipe and of its method's options together, strict, each named where it is wrong."""

from dataclasses import fields, replace

import pytest

from edgerkd.core.errors import ArtefactError, ConfigError, UnknownNameError
from edgerkd.core.recipe import Recipe, parse_settings
from edgerkd.distill.methods.recipes import defaults_of, options_of, with_method, with_recipe_settings
from edgerkd.distill.methods.registry import METHODS, UNDEFENDED, load_method
from edgerkd.files.decode import decode_json, encode_json
from tests.recipes import recipe_of


@pytest.mark.parametrize("name", METHODS)
def test_a_recipe_holds_every_option_of_its_method_and_is_read_back_equal(name, tmp_path):
    """Catches a run.json that leaves out what a later default may change, and options that a file cannot hold."""
    recipe = recipe_of(name)
    assert recipe.options == defaults_of(METHODS[name])
    assert options_of(recipe) == METHODS[name].options()
    (tmp_path / "r.json").write_text(encode_json(recipe))
    assert decode_json(Recipe, tmp_path / "r.json") == recipe


@pytest.mark.parametrize("name", METHODS)
def test_no_option_has_the_name_of_a_value_of_every_recipe(name):
    """Catches a setting that would be two values."""
    assert not {f.name for f in fields(Recipe)} & set(defaults_of(METHODS[name]))


def test_settings_need_no_prefix_and_go_where_they_belong():
    """Catches an option lost, one written among the recipe's own values, and a whole number that stays no fraction."""
    recipe = recipe_of("mixacm", batch=32, weight_acm=2)
    assert (recipe.batch, recipe.options["weight_acm"], options_of(recipe).weight_acm) == (32, 2.0, 2.0)
    again = with_recipe_settings(recipe, {"lr": 0.1, "temperature": 3.0}, "--methods")
    assert (again.lr, again.batch) == (0.1, 32)
    assert (options_of(again).temperature, options_of(again).weight_acm) == (3.0, 2.0)


def test_every_wrong_setting_is_named_at_once():
    """Catches the first problem alone, an option's range unchecked, and another method's option called a slip."""
    with pytest.raises(ConfigError) as caught:
        recipe_of("rslad", batch=1, weight_clean=3, weight_claen=0.1, weight_acm=2, keep_misclassified=True, epoch=3)
    lines = str(caught.value).splitlines()
    assert lines[0] == "--set: 6 problems"
    for words in (
        "batch: must be at least 2 (found 1)",
        "weight_clean: must be at most 1.0 (found 3)",
        "weight_claen: unknown key: did you mean weight_clean?",
        "weight_acm: is an option of mixacm and edgerkd, not of method rslad",
        "keep_misclassified: is an option of edgerkd, not of method rslad",
        "epoch: unknown key: did you mean epochs?",
    ):
        assert f"  - {words}" in lines


def test_options_are_not_set_as_a_whole():
    """Catches a table that would replace every option unseen."""
    with pytest.raises(ConfigError, match="options: set each by its own name"):
        parse_settings(["options={}"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "weight_clean missing"), ({"weight_clean": 2.0}, "at most 1"), ({"weight_clean": 0, "x": 1}, "x: unknown")],
)
def test_options_of_a_file_are_checked_by_their_method(options, message):
    """Catches a run that goes on by a default it did not begin with, and one by values out of range."""
    with pytest.raises(ArtefactError, match=message):
        options_of(replace(recipe_of("rslad"), options=options))


def test_another_method_takes_over_what_all_share_and_no_option():
    """Catches a baseline trained by another schedule, and one whose options are those of the method before."""
    recipe = with_method(recipe_of("edgerkd", batch=32, label_share=0.25), UNDEFENDED)
    assert (recipe.method, recipe.batch, recipe.options) == ("standard", 32, {})


def test_an_unknown_method_is_answered_with_what_each_known_one_is():
    """Catches a list of bare names, and one that lacks the nearest."""
    with pytest.raises(UnknownNameError, match="did you mean 'mixacm'") as caught:
        load_method("mixacn")
    assert all(f"\n  - {name}: {method.description}" in str(caught.value) for name, method in METHODS.items())
