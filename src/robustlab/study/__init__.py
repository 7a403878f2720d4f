"""Studies: recipes, their stages, and their results."""

from robustlab.options import StudyOptions
from robustlab.study.loading import load_recipe
from robustlab.study.recipe import Recipe
from robustlab.study.runner import execute
from robustlab.study.setup import find_recipe
from robustlab.study.training import execute_training

__all__ = ["Recipe", "StudyOptions", "execute", "execute_training", "find_recipe", "load_recipe"]
