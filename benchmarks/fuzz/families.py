"""Imports every family, so that it registers itself."""

from fuzz import arguments, commands, inputs, recipes, runs, specs  # noqa: F401
