"""The names of classes, as models and datasets carry them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

_IN_ORDER = ("class_names", "classes", "categories", "classes_")
"""Attributes with a list of names; the last one is scikit-learn's."""
_NUMBERED = (("metadata", "index2label"), ("config", "id2label"))
"""Attributes with a dict from numbers to names inside: of MAITE's protocols, and of transformers."""


def class_names_of(thing: Any) -> tuple[str, ...]:
    """Return the names of the classes in their order, as an object states them; empty: it states none."""
    for known in _stated(thing):
        if isinstance(known, list | tuple) and known and all(isinstance(name, str) for name in known):
            return tuple(str(name) for name in known)
        if isinstance(known, Mapping):
            with suppress(TypeError, ValueError, OverflowError):
                numbered = {int(number): str(name) for number, name in known.items()}
                if numbered and sorted(numbered) == list(range(len(numbered))):
                    return tuple(numbered[number] for number in range(len(numbered)))
    return ()


def _stated(thing: Any) -> Iterator[Any]:
    for name in _IN_ORDER:
        known = _attribute(thing, name)
        yield known.tolist() if isinstance(known, np.ndarray) else known
    for outer, inner in _NUMBERED:
        found = _attribute(thing, outer)
        yield found.get(inner) if isinstance(found, Mapping) else _attribute(found, inner)


def _attribute(thing: Any, name: str) -> Any:
    with suppress(Exception):  # a property may fail in any way
        return getattr(thing, name, None)
    return None
