"""Imports every family, so that it registers itself."""

from fuzz import arguments, commands, recipes, specs  # noqa: F401
