"""The names of classes, in all the forms in which models and datasets carry them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robustlab.core.class_names import class_names_of

NAMES = ("cat", "dog")


class Fails:
    @property
    def class_names(self) -> Any:
        raise RuntimeError("not attached to a trainer")

    classes = NAMES


@pytest.mark.parametrize(
    "thing",
    [
        SimpleNamespace(class_names=["cat", "dog"]),
        SimpleNamespace(classes=("cat", "dog")),
        SimpleNamespace(categories=["cat", "dog"], classes=2),
        SimpleNamespace(classes_=np.array(["cat", "dog"])),
        SimpleNamespace(config=SimpleNamespace(id2label={1: "dog", 0: "cat"})),
        SimpleNamespace(config={"id2label": {"0": "cat", "1": "dog"}}),
        SimpleNamespace(metadata={"index2label": {0: "cat", 1: "dog"}}),
        SimpleNamespace(class_names={0: "cat", 1: "dog"}),
        Fails(),
    ],
)
def test_names_are_found(thing: Any) -> None:
    assert class_names_of(thing) == NAMES


@pytest.mark.parametrize(
    "thing",
    [
        None,
        SimpleNamespace(classes=2),
        SimpleNamespace(classes="cat"),
        SimpleNamespace(class_names=[]),
        SimpleNamespace(classes_=np.array([0, 1])),
        SimpleNamespace(config=SimpleNamespace(id2label={1: "cat", 2: "dog"})),
        SimpleNamespace(config=SimpleNamespace(id2label={"a": "cat"})),
        SimpleNamespace(class_names={float("inf"): "cat"}),
        SimpleNamespace(class_names={"cat", "dog"}, classes={"cat": 0, "dog": 1}),
        SimpleNamespace(config=SimpleNamespace(id2label=None), metadata={"index2label": None}),
    ],
)
def test_what_names_no_classes_has_none(thing: Any) -> None:
    assert class_names_of(thing) == ()
