"""The preprocessing that a network expects: the options for it, which the check names, too."""

import math
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from robustlab.core.arguments import as_typed, check_whole
from robustlab.core.errors import SpecError, did_you_mean
from robustlab.core.spec import units
from robustlab.core.text import shown
from robustlab.data import Dataset
from robustlab.evaluation.subject import LoadedClassifier
from robustlab.models.preprocessing import Preprocessed, Preprocessing
from robustlab.options import PREPROCESSING, AttackFields
from robustlab.runs.ledger import digest

Constants = str | float | Sequence[float]
"""A name of `statistics`, or numbers: one, or one per channel; in a text, separated by commas."""

_OTHERS = {"0.5": ((0.5,), (0.5,))}


def statistics() -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return, by name, mean and standard deviation of each channel in the training images."""
    return _of_datasets() | _OTHERS


def _of_datasets() -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    return {name: (dataset.mean, dataset.std) for name, dataset in units(Dataset).items() if dataset.mean}


def usual(images: Tensor) -> dict[str, Preprocessing]:
    """Return the usual preprocessings for images (N, C, H, W) in [0, 1], by their options.

    Of all datasets only those that are widely used, and the one whose mean and standard deviation are nearest
    to those of the images: the check classifies its images once for each preprocessing, and similar constants
    have similar answers.
    """
    channels = images.shape[1]
    own = torch.cat([images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3), correction=0)]).tolist()
    datasets = {n: found for n, found in _of_datasets().items() if {*map(len, found)} == {channels}}
    nearest = sorted(datasets, key=lambda name: math.dist(own, [*datasets[name][0], *datasets[name][1]]))[:1]
    nearest += [name for name in datasets if units(Dataset)[name].widely_used and name not in nearest]
    fitting = {
        f"--mean {name} --std {name}": Preprocessing(mean=mean, std=std)
        for name, (mean, std) in ({name: datasets[name] for name in nearest} | _OTHERS).items()
        if len(mean) in {1, channels}
    }
    return fitting | {"--scale 255": Preprocessing(scale=255.0)}


def wished(options: AttackFields, own: Preprocessing | None = None) -> Preprocessing | None:
    """Return the preprocessing of an evaluation's options; see `asked`."""
    return asked(**{name: getattr(options, name) for name in PREPROCESSING}, own=own)


def asked(
    mean: Constants | None,
    std: Constants | None,
    scale: float | None = None,
    resize: int | None = None,
    crop: int | None = None,
    *,
    own: Preprocessing | None = None,
) -> Preprocessing | None:
    """Return the preprocessing of a user's options; None without one.

    Args:
        mean: of the network's training images.
        std: of these.
        scale: what the images are multiplied by first.
        resize: the length of the shorter side; 0: no change.
        crop: the side of the square in the centre; 0: no change.
        own: the preprocessing that the network's source states; the given options replace its parts.

    Raises:
        SpecError: a value is not valid; the message names the parameter and the accepted values.
    """
    if (mean is None) != (std is None):
        given, missing, none = ("mean", "std", 1) if std is None else ("std", "mean", 0)
        given, missing = as_typed(given), as_typed(missing)
        raise SpecError(f"{given} needs {missing}: give both; {none} leaves {missing} out; {_accepted()}")
    values: dict[str, Any] = {}
    if mean is not None:
        values = {"mean": _numbers("mean", mean, 0), "std": _numbers("std", std, 1)}
    if scale is not None:
        values["scale"] = _number("scale", scale, "give one number")
    for name, size in (("resize", resize), ("crop", crop)):
        if size is not None:
            check_whole(name, size, 0, _LARGEST_SIDE)
            values[name] = size or None
    if values:
        values["origin"] = ""
    steps = replace(own or Preprocessing(), **values)
    return None if steps == Preprocessing() else steps


def check_channels(wished: Preprocessing | None, channels: int) -> None:
    """Check that a preprocessing fits images of so many channels.

    Raises:
        SpecError: the number of channels does not match.
    """
    if wished is not None and not wished.fits(channels):
        place = f", as {wished.origin} states" if wished.origin else ""
        raise SpecError(
            f"{as_typed('mean')} has {len(wished.mean)} values and {as_typed('std')} {len(wished.std)}"
            f"{place}; give one number for all channels (the images have {channels}), or one for each"
        )


def preprocessed(subject: LoadedClassifier, options: AttackFields, channels: int) -> LoadedClassifier:
    """Return a classifier behind the preprocessing that options ask for, by default its source's own.

    The preprocessing is a part of the classifier's identity.

    Raises:
        SpecError: the number of channels does not match.
    """
    steps = wished(options, subject.preprocessing)
    check_channels(steps, channels)
    if steps == subject.preprocessing:
        return subject
    return replace(
        subject,
        model=subject.network if steps is None else Preprocessed(subject.network, steps),
        code=digest(subject.code, repr(steps)),
        preprocessing=steps,
    )


def _numbers(name: str, value: Any, column: int) -> tuple[float, ...]:
    if isinstance(value, str):
        known = statistics().get(value.strip().lower())
        return known[column] if known else tuple(_parsed(name, word.strip()) for word in value.split(","))
    parts = value if isinstance(value, list | tuple) and value else [value]
    return tuple(_number(name, part, _accepted()) for part in parts)


def _parsed(name: str, word: str) -> float:
    try:
        return _number(name, float(word), _accepted())
    except ValueError:
        hint = did_you_mean(word, statistics())
        raise SpecError(f"unknown {name} {word[:40]!r}{hint}; {_accepted()}") from None


def _number(name: str, value: Any, accepted: str) -> float:
    # For Python, True is a number.
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        value = value.item()  # a NumPy or torch scalar
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real:
        raise SpecError(f"{as_typed(name)} must be a number, found {shown(value)}; {accepted}")
    low, high = (-_LARGEST, _LARGEST) if name == "mean" else (1 / _LARGEST, _LARGEST)
    if not low <= value <= high:
        limits = f"{low:g} and {high:g}"
        raise SpecError(f"{as_typed(name)} must lie between {limits}; found {shown(value)}; {accepted}")
    return float(value)


_LARGEST = 1e6
_LARGEST_SIDE = 10_000


def _accepted() -> str:
    return f"give {', '.join(statistics())}, or numbers, one or one per channel, separated by commas"
