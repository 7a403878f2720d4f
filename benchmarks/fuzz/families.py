"""Imports every family, so that it registers itself."""
