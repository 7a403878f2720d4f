"""The preprocessing that a network expects but does not contain; the option and the check share it.

Such a step outside the network would change the meaning of eps. So it becomes the network's first layer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core.arguments import as_typed
from robustlab.core.errors import SpecError, did_you_mean
from robustlab.core.spec import units
from robustlab.core.text import shown
from robustlab.data import Dataset
from robustlab.evaluation.subject import LoadedClassifier
from robustlab.runs.ledger import digest

Constants = str | float | Sequence[float]
"""A name of `statistics`, or numbers: one, or one per channel; in a text, separated by commas."""

_OTHERS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0.5": ((0.5,), (0.5,)),
}


def statistics() -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return, by name, mean and standard deviation of each channel in the training images."""
    return _of_datasets() | _OTHERS


def _of_datasets() -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    return {name: (dataset.mean, dataset.std) for name, dataset in units(Dataset).items() if dataset.mean}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """``(images * scale - mean) / std``; mean and std hold one number, or one per channel."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        scaled = [f"times {self.scale:g}"] if self.scale != 1 else []
        normalised = [f"mean {mean}", f"std {std}"] if (self.mean, self.std) != ((0.0,), (1.0,)) else []
        return ", ".join(scaled + normalised) or "no preprocessing"

    def fits(self, channels: int) -> bool:
        """Return whether the preprocessing has one number for all channels, or one per channel."""
        return {len(self.mean), len(self.std)} <= {1, channels}


class Preprocessed(nn.Module):
    """A network behind its preprocessing; the network itself does not change."""

    mean: Tensor
    std: Tensor
    network: nn.Module
    preprocessing: Preprocessing

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32, device="cpu").view(-1, 1, 1))
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's answer to images (N, C, H, W) in [0, 1]."""
        mean, std = self.mean.to(images.dtype), self.std.to(images.dtype)
        answer: Tensor = self.network((images * self.preprocessing.scale - mean) / std)
        return answer


def usual(images: Tensor) -> dict[str, Preprocessing]:
    """Return the usual preprocessings for images (N, C, H, W) in [0, 1], by their options.

    Of all datasets only the one whose mean and standard deviation are nearest to those of the images: the
    check classifies its images once for each preprocessing, and similar constants have similar answers.
    """
    channels = images.shape[1]
    own = torch.cat([images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3), correction=0)]).tolist()
    datasets = {n: found for n, found in _of_datasets().items() if {*map(len, found)} == {channels}}
    nearest = sorted(datasets, key=lambda name: math.dist(own, [*datasets[name][0], *datasets[name][1]]))[:1]
    fitting = {
        f"--mean {name} --std {name}": Preprocessing(mean=mean, std=std)
        for name, (mean, std) in ({name: datasets[name] for name in nearest} | _OTHERS).items()
        if len(mean) in {1, channels}
    }
    return fitting | {"--scale 255": Preprocessing(scale=255.0)}


def asked(mean: Constants | None, std: Constants | None, scale: float) -> Preprocessing | None:
    """Return the preprocessing of a user's options; None without one.

    Raises:
        SpecError: a value is not valid; the message names the parameter and the accepted values.
    """
    if (mean is None) != (std is None):
        given, missing, none = ("mean", "std", 1) if std is None else ("std", "mean", 0)
        given, missing = as_typed(given), as_typed(missing)
        raise SpecError(f"{given} needs {missing}: give both; {none} leaves {missing} out; {_accepted()}")
    values = {"mean": _numbers("mean", mean, 0), "std": _numbers("std", std, 1)} if mean is not None else {}
    steps = Preprocessing(scale=_number("scale", scale, "give one number"), **values)
    return None if steps == Preprocessing() else steps


def check_channels(wished: Preprocessing | None, channels: int) -> None:
    """Check that a preprocessing fits images of so many channels.

    Raises:
        SpecError: the number of channels does not match.
    """
    if wished is not None and not wished.fits(channels):
        raise SpecError(
            f"{as_typed('mean')} has {len(wished.mean)} values and {as_typed('std')} {len(wished.std)}; "
            f"give one number for all channels (the images have {channels}), or one for each"
        )


def preprocessed(subject: LoadedClassifier, wished: Preprocessing, channels: int) -> LoadedClassifier:
    """Return a classifier with a preprocessing in front, which is then a part of its identity.

    Raises:
        SpecError: the number of channels does not match.
    """
    check_channels(wished, channels)
    return replace(
        subject,
        model=Preprocessed(subject.model, wished),
        code=digest(subject.code, repr(wished)),
        preprocessing=str(wished),
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


def _accepted() -> str:
    return f"give {', '.join(statistics())}, or numbers, one or one per channel, separated by commas"
