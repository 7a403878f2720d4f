"""The families of inputs by name."""

import random
from collections.abc import Callable
from pathlib import Path

Attempt = Callable[[], object]
"""Tries one input: it returns, or raises `RobustlabError`; an ``AssertionError`` says what else is wrong."""

Family = Callable[[random.Random, Path], Attempt]
"""Makes one input from random numbers; its files belong below the folder, which is empty."""

FAMILIES: dict[str, Family] = {}


def family(name: str) -> Callable[[Family], Family]:
    """Register a family of inputs under a name."""

    def decorate(make: Family) -> Family:
        FAMILIES[name] = make
        return make

    return decorate
