"""Folders of pictures, one folder per class, as torchvision's ``ImageFolder`` reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.core.text import shown
from robustlab.data.parts import ReadPart, mixed
from robustlab.data.pictures import PictureFiles
from robustlab.data.resizing import Resizing

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_LITTER = frozenset({"desktop.ini", "thumbs.db"})
"""What file managers leave in folders."""


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name, without hidden ones.

    Raises:
        DataError: it can't be listed.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} can't be listed: {error.strerror}") from None
    return [path for path in inside if path.is_dir() and not path.name.startswith(".")]


def classes_of(folder: Path) -> list[str]:
    """Return the names of the class folders in a folder, sorted.

    Raises:
        DataError: there are fewer than two.
    """
    names = [path.name for path in folders_in(folder)]
    if len(names) > 1:
        return names
    found = f"one, {shown(names[0])}" if names else "none"
    raise DataError(f"{folder} must have a folder of pictures for each class, at least two; found {found}")


def pictures_in(folder: Path, classes: Mapping[str, int]) -> tuple[list[Path], Tensor]:
    """Return the pictures in the class folders of a folder, and the labels (N,) that the names stand for.

    Raises:
        DataError: it has an unknown class, a file that is not a picture, or no picture at all.
    """
    paths: list[Path] = []
    labels: list[int] = []
    for inside in folders_in(folder):
        if inside.name not in classes:
            raise DataError(f"{inside} is not a folder of one of the {len(classes):,} known classes")
        found = [path for path in sorted(inside.rglob("*")) if _counts(path)]
        paths += found
        labels += [classes[inside.name]] * len(found)
    if not paths:
        raise DataError(f"{folder} holds no pictures; accepted: {', '.join(sorted(SUFFIXES))}")
    return paths, torch.tensor(labels)


def _counts(path: Path) -> bool:
    """Return whether a path is a picture; folders and litter do not count."""
    if path.name.startswith(".") or path.name.lower() in _LITTER or path.is_dir():
        return False
    if path.suffix.lower() not in SUFFIXES:
        accepted = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{path} is not a picture (accepted: {accepted}); move it away")
    return True


def part_of(
    paths: Sequence[Path], labels: Tensor, resizing: Resizing, class_names: Sequence[str], source: str
) -> ReadPart:
    """Return the part of pictures in files, which are read as they are needed."""
    order, remarks = mixed(labels)
    return ReadPart(
        images=PictureFiles(paths, order, resizing),
        labels=labels,
        source=source,
        class_names=tuple(class_names),
        remarks=remarks,
        order=order,
    )
