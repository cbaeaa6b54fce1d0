"""Recipes with the options of their method: what can be set, and what a recipe holds, read by the method itself."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from edgerkd.core.errors import ArtefactError
from edgerkd.core.recipe import Option, Recipe
from edgerkd.core.record import Record
from edgerkd.core.threat import ThreatModel
from edgerkd.distill.methods.method import AnyMethod
from edgerkd.distill.methods.registry import METHODS, load_method
from edgerkd.files.decode import decode_plain, plain, with_two_settings

_NOTHING: Mapping[str, Any] = {}


def recipe_for(
    method: AnyMethod,
    threat_model: ThreatModel,
    *,
    epochs: int,
    settings: Mapping[str, Any] = _NOTHING,  # Any: whatever JSON holds
    where: str = "--set",
) -> Recipe:
    """A recipe of this method, with every option that it has; `settings` are of both, without a prefix.

    Raises ConfigError with all problems of the settings, named after `where`.
    """
    recipe = Recipe(method=method.name, threat_model=threat_model, epochs=epochs, options=defaults_of(method))
    return with_recipe_settings(recipe, settings, where)


def with_recipe_settings(recipe: Recipe, settings: Mapping[str, Any], where: str) -> Recipe:
    """`recipe` with some values set anew, its own and its method's options alike.

    Raises ConfigError with all problems: a key that is another method's says whose it is.
    """
    options = options_of(recipe)
    bare = replace(recipe, options={})
    found, changed = with_two_settings(bare, options, settings, where, elsewhere=_of_others(recipe.method))
    return replace(found, options=plain(changed))


def with_method(recipe: Recipe, method: AnyMethod) -> Recipe:
    """The same values for another method, whose own options have their defaults."""
    return replace(recipe, method=method.name, options=defaults_of(method))


def defaults_of(method: AnyMethod) -> dict[str, Option]:
    """Every option of the method, by its name."""
    return plain(method.options())


def options_of(recipe: Recipe) -> Any:  # Any: an instance of the method's own options
    """The recipe's options as its method reads them.

    Raises UnknownNameError for a method there is none of, ArtefactError where they are not complete, or are not its.
    """
    options: type[Record] = load_method(recipe.method).options
    missing = [name for name in _names(options) if name not in recipe.options]
    where = f"the recipe's options of method {recipe.method}"
    if missing:
        raise ArtefactError(f"{where}: {', '.join(missing)} missing: start a new run.")
    return decode_plain(options, recipe.options, where)


def _names(options: type[Record]) -> list[str]:
    return [f.name for f in fields(options)]  # pyright: ignore[reportArgumentType]  every Record is a dataclass


def _of_others(name: str) -> dict[str, str]:
    """By its name each option that only other methods have, and whose it is."""
    owners: dict[str, list[str]] = {}
    for method in METHODS.values():
        for option in _names(method.options):
            owners.setdefault(option, []).append(method.name)
    return {
        option: f"is an option of {' and '.join(methods)}, not of method {name}"
        for option, methods in owners.items()
        if name not in methods
    }
