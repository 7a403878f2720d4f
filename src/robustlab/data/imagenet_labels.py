"""The labels of ImageNet's validation photos where they lie in one folder: three usual files hold them."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from robustlab.core.errors import DataError

_PHOTO = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)

Labels = dict[str, str]
"""By the name of the file, in capitals: a WordNet id, or the number of the class."""


def is_flat(folder: Path) -> bool:
    """Return whether a folder holds the photos themselves, and no folder for a class."""
    inside = list(folder.iterdir()) if folder.is_dir() else []
    folders = any(path.is_dir() and not path.name.startswith(".") for path in inside)
    return not folders and any(_PHOTO.fullmatch(path.name) for path in inside)


def flat_photos(folder: Path, places: Sequence[Path]) -> tuple[list[Path], list[str], list[str]]:
    """Return the photos in a folder, the label of each, and all WordNet ids in order if the file has these.

    Args:
        folder: the folder of the photos.
        places: the folders in which a file with the labels may be.

    Raises:
        DataError: no such file is found, it can't be read, or it lacks a photo.
    """
    paths = sorted(path for path in folder.iterdir() if _PHOTO.fullmatch(path.name))
    file, known = _labels(folder, places)
    labels = [known.get(path.name.upper(), "") for path in paths]
    if "" in labels:
        raise DataError(f"{file} has no label of {paths[labels.index('')].name}")
    ids = sorted(set(known.values()))
    return paths, labels, ids if all(one.startswith("n") for one in ids) else []


def _labels(folder: Path, places: Sequence[Path]) -> tuple[Path, Labels]:
    for place in places:
        for name, read in _FILES.items():
            if (file := place / name).is_file():
                try:
                    return file, read(file.read_text(encoding="utf-8-sig"))
                except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
                    raise DataError(f"{file} can't be read: {error!r}") from None
    raise DataError(
        f"{folder} holds photos without folders, and no file with their labels was found; put one of "
        f"{', '.join(_FILES)} beside them, or sort them into one folder per WordNet id, as "
        "torchvision.datasets.ImageNet does"
    )


def _of_kaggle(text: str) -> Labels:
    """Read lines such as ``ILSVRC2012_val_00048981,n03995372 85 1 499 272``."""
    rows = csv.DictReader(text.splitlines())
    return {f"{row['ImageId']}.JPEG".upper(): row["PredictionString"].split()[0] for row in rows}


def _in_order(text: str) -> Labels:
    """Read the WordNet ids of all photos, one on each line."""
    ids = text.split()
    return {f"ILSVRC2012_val_{number:08}.JPEG".upper(): one for number, one in enumerate(ids, start=1)}


def _of_caffe(text: str) -> Labels:
    """Read lines such as ``ILSVRC2012_val_00000001.JPEG 65``."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    numbers = {name.upper(): int(number) for name, number in rows}
    if max(numbers.values()) == 1000 and min(numbers.values()) == 1:
        raise ValueError("it counts the classes from 1 to 1000; expected 0 to 999")
    return {name: str(number) for name, number in numbers.items()}


_FILES: dict[str, Callable[[str], Labels]] = {
    "LOC_val_solution.csv": _of_kaggle,
    "imagenet_2012_validation_synset_labels.txt": _in_order,
    "val.txt": _of_caffe,
}
