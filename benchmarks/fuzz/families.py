"""Imports every family, so that it registers itself."""

from fuzz import inputs, runs, specs  # noqa: F401
