"""Studies: recipes, the stages they are run through, and their results."""

from robustlab.study.recipe import Recipe, load_recipe
from robustlab.study.study import find_recipe, study

__all__ = ["Recipe", "find_recipe", "load_recipe", "study"]
