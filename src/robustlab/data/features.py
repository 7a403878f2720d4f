"""Rows of features, and signals: data of other shapes than images, each value with its own range."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.inputs import as_numbers
from robustlab.core.text import shown
from robustlab.data.feature_ranges import FeatureRanges
from robustlab.data.split import Split


def features(
    rows: Any, labels: Any, *, low: Any, high: Any, names: Sequence[str] | None = None, name: str = "own"
) -> Split:
    """Return rows of features, or signals, to evaluate a classifier on, which then gets such rows.

    An attack's eps is a share of each value's range: within ``linf(eps=0.1)`` a feature may change by a tenth
    of the way from ``low`` to ``high``. The values are kept in float32, as shares of their ranges.

    Args:
        rows: (N, F) features, or (N, C, L) signals with C channels; a tensor, a NumPy array or a data frame.
        labels: (N,) integers, the true classes.
        low: the lowest possible value: one number, or one per feature, (F,) or (C, L), or one per channel,
            (C, 1).
        high: the highest possible value; equal to ``low`` for a feature that never changes.
        names: of the features (F,), or of the channels (C,); default: a data frame's columns.
        name: of the data, for the report.

    Raises:
        DataError: the shapes do not match, a range is empty, or a value lies outside its range.
    """
    values = _numbers("rows", rows)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise DataError(f"rows must have shape (N, F) or (N, C, L), found {tuple(values.shape)}")
    shape = tuple(values.shape[1:])
    ends = {end: _range(end, given, shape) for end, given in (("low", low), ("high", high))}
    empty = (ends["low"] > ends["high"]).nonzero()
    named = getattr(rows, "columns", ()) if names is None else names
    ranges = FeatureRanges(shape=shape, names=tuple(map(str, named)), **ends)
    if ranges.names and len(ranges.names) != shape[0]:
        raise DataError(f"names must be {shape[0]} texts, found {len(ranges.names)}")
    if len(empty):
        at = tuple(empty[0].tolist())
        raise DataError(
            f"{ranges.name_of(at)} has the range {ends['low'][at]:g} to {ends['high'][at]:g}; "
            "low must not exceed high"
        )
    images = ranges.images(values)
    return replace(Split.of(images, as_numbers("labels", labels, images), name=name), features=ranges)


def _numbers(name: str, given: Any) -> Tensor:
    if isinstance(given, Tensor):
        return given.detach().cpu().to(torch.float64)
    try:
        return torch.from_numpy(np.array(given, dtype=np.float64))
    except (TypeError, ValueError) as error:  # texts, or rows of different lengths
        raise DataError(f"{name} must hold numbers, found {shown(given)}: {error}") from error


def _range(name: str, given: Any, shape: tuple[int, ...]) -> Tensor:
    numbers = _numbers(name, given)
    try:
        ends = numbers.broadcast_to(shape)
    except RuntimeError as error:
        found = tuple(numbers.shape)
        raise DataError(
            f"{name} must be a number, or numbers of shape {shape}, found shape {found}"
        ) from error
    if not ends.isfinite().all():
        raise DataError(f"{name} must be finite, found {shown(given)}")
    return ends.clone()
