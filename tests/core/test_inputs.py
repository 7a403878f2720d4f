"""Images and labels in whatever kind of array libraries hand them over."""

from typing import Any

import numpy as np
import pytest
import torch

from robustlab.core.errors import DataError
from robustlab.core.inputs import as_images, as_numbers

PIXELS = np.arange(24).reshape(2, 1, 3, 4)
IMAGES = PIXELS / 32


@pytest.mark.parametrize("kind", [">f4", ">f8", "<f2", np.longdouble, object])
def test_images_of_any_kind_of_array_are_the_same(kind: Any) -> None:
    assert as_images(IMAGES.astype(kind)).equal(torch.tensor(IMAGES, dtype=torch.float32))


@pytest.mark.parametrize("kind", [">i8", ">i4", "<u2", np.uint64, np.int8, object])
def test_labels_of_any_kind_of_array_are_the_same(kind: Any) -> None:
    images = torch.rand(24, 1, 2, 2)
    assert as_numbers("labels", PIXELS.flatten().astype(kind), images).equal(torch.arange(24))


@pytest.mark.parametrize("kind", [str, "datetime64[s]"])
def test_an_array_of_no_numbers_is_named_by_its_type(kind: Any) -> None:
    array = PIXELS.astype(kind)
    with pytest.raises(DataError, match=rf"found an array of {array.dtype}".replace("[", r"\[")):
        as_images(array)


def test_objects_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="found an array of object"):
        as_numbers("labels", np.array([None, {}], dtype=object), torch.rand(2, 1, 2, 2))
