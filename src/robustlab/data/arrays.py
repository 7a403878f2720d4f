"""NumPy arrays as images and labels."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core.errors import DataError, RobustlabError
from robustlab.core.inputs import as_numbers, split_images

_CHANNELS = (1, 3)


def as_split_images(array: NDArray[Any], title: str) -> tuple[Tensor, tuple[str, ...]]:
    """Return an array as images of a split, (N, C, H, W), and notes for the user on what was changed.

    Args:
        array: (N, H, W), (N, C, H, W) or (N, H, W, C), of whole numbers in 0..255 or floats in [0, 1].
        title: where it comes from, for messages.

    Raises:
        DataError: the type, shape or range is another one.
    """
    remarks = []
    match array.shape:
        case (_, _, _):
            array = array[:, None]
        case (_, channels, _, _) if channels in _CHANNELS:
            pass
        case (_, _, _, channels) if channels in _CHANNELS:
            array = array.transpose(0, 3, 1, 2)
        case shape:
            raise DataError(
                f"{title}: images must have shape (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 "
                f"channels, found {shape}"
            )
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise DataError(f"{title}: images must be numbers, found {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "b" or array.dtype == np.uint8:
        values = array.astype(np.uint8) * (255 if array.dtype.kind == "b" else 1)
        return torch.from_numpy(np.ascontiguousarray(values)), ()
    low, high = array.min(), array.max()
    if low >= 0 and 1 < high <= 255 and (array.dtype.kind in "iu" or (array == np.round(array)).all()):
        remarks.append(f"the images hold whole numbers up to {high:g}, so 255 is taken as white")
        return torch.from_numpy(np.ascontiguousarray(array.astype(np.uint8))), tuple(remarks)
    try:
        return split_images(np.ascontiguousarray(array, np.float32)), ()
    except RobustlabError as error:
        raise DataError(f"{title}: {error}") from None


def as_labels(array: NDArray[Any], n: int, title: str) -> Tensor:
    """Return an array (N,) or (N, 1) of whole numbers as the labels of n images.

    Raises:
        DataError: it has another shape or type, or a negative number.
    """
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.dtype.kind == "f" and array.ndim == 1 and (array == np.round(array)).all():
        array = array.astype(np.int64)
    try:
        return as_numbers("labels", array, torch.empty(n, 0))
    except RobustlabError as error:
        raise DataError(f"{title}: {error}") from None
