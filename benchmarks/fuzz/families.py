"""Imports every family, so that it registers itself."""

from fuzz import specs  # noqa: F401
