"""Recipes for tests: a method's name, and settings of the recipe and of the method's options alike."""

from edgerkd.core.recipe import Recipe
from edgerkd.core.threat import ThreatModel
from edgerkd.distill.methods.recipes import recipe_for
from edgerkd.distill.methods.registry import METHODS
from tests.zoo import THREAT


def recipe_of(method: str, threat_model: ThreatModel = THREAT, *, epochs: int = 1, **settings: object) -> Recipe:
    return recipe_for(METHODS[method], threat_model, epochs=epochs, settings=settings)
