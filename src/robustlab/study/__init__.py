"""Studies: recipes, the stages they are run through, and their results."""

from robustlab.study.recipe import Recipe, load_recipe
from robustlab.study.study import StudyOptions, find_recipe, run_study, shipped_recipes

__all__ = ["Recipe", "StudyOptions", "find_recipe", "load_recipe", "run_study", "shipped_recipes"]
