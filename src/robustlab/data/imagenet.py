"""ImageNet's validation images (Russakovsky et al. 2015, arXiv:1409.0575)."""

import json
import re
from pathlib import Path

import torch

from robustlab.core.errors import DataError
from robustlab.core.spec import BareText, register
from robustlab.data.class_folders import classes_of, part_of, pictures_in
from robustlab.data.imagenet_labels import flat_photos, is_flat
from robustlab.data.parts import PartDataset, ReadPart, no_training_part, placed
from robustlab.data.resizing import Pixels, Resize, Resizing

_MAPPING, _INDEX = "LOC_synset_mapping.txt", "imagenet_class_index.json"


@register("imagenet")
class ImageNet(PartDataset):
    """The 50,000 validation photos of ImageNet, in one folder per WordNet id, such as ``n01440764``.

    Or all in one folder, with a usual file of labels beside them or above (`imagenet_labels`). Classes
    are numbered as torchvision and timm do: in the order of all 1,000 sorted WordNet ids. Of fewer folders
    the numbers are known from LOC_synset_mapping.txt or imagenet_class_index.json beside them.
    """

    path: BareText
    """The folder of these folders, or one with such a folder ``val``."""
    resize: Resize = 256
    """The new length of the shorter side, or (height, width); None: as it is."""
    crop: Pixels | None = 224
    """The height and width of the centre that is cut out, after resizing."""

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    widely_used = True

    def part(self, *, train: bool, data_root: Path | None, download: bool) -> ReadPart:
        del download
        if train:
            raise no_training_part(self)
        return wordnet_part(placed(self.path, data_root), Resizing(resize=self.resize, crop=self.crop))


def wordnet_part(folder: Path, resizing: Resizing) -> ReadPart:
    """Return the photos in a folder, or in the folder ``val`` there; see `ImageNet`.

    Raises:
        DataError: it has another layout, or its classes are not known.
    """
    below = (folder / part for part in ("val", "Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val"))
    inside = next((place for place in below if place.is_dir()), folder)
    if is_flat(inside):
        return _flat_part(inside, [folder, inside, *inside.parents[:4]], resizing)
    ids = classes_of(inside)
    if wrong := [name for name in ids if not re.fullmatch(r"n\d{8}", name)]:
        raise DataError(f"{inside / wrong[0]} is not named by a WordNet id, such as n01440764")
    names = _names(ids, [folder, inside, *inside.parents[:2]])
    paths, labels = pictures_in(inside, {identifier: place for place, identifier in enumerate(names)})
    return part_of(paths, labels, resizing, tuple(names.values()), f"{len(paths):,} photos in {inside}")


def _flat_part(folder: Path, places: list[Path], resizing: Resizing) -> ReadPart:
    """Return the photos in a folder without class folders, with the labels of a file in one of the places."""
    from torchvision.models import _meta

    paths, labels, ids = flat_photos(folder, places)
    usual = {str(number): name for number, name in enumerate(_meta._IMAGENET_CATEGORIES)}
    names = _names(ids, places) if ids else usual
    numbers = {label: number for number, label in enumerate(names)}
    if wrong := next((label for label in labels if label not in numbers), None):
        raise DataError(f"the label {wrong} of a photo in {folder} is none of the 1,000 classes")
    found = torch.tensor([numbers[label] for label in labels])
    return part_of(paths, found, resizing, tuple(names.values()), f"{len(paths):,} photos in {folder}")


def _names(ids: list[str], places: list[Path]) -> dict[str, str]:
    """Return the names of all classes by WordNet id, in order."""
    for place in places:
        for read, file in ((_from_mapping, place / _MAPPING), (_from_index, place / _INDEX)):
            if file.is_file():
                try:
                    return read(file.read_text(encoding="utf-8"))
                except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
                    raise DataError(f"{file} can't be read: {error!r}") from None
    from torchvision.models import _meta

    if len(ids) != len(_meta._IMAGENET_CATEGORIES):
        raise DataError(
            f"found {len(ids)} of 1,000 class folders or labels in {places[1]}, so their numbers are "
            f"unknown; put {_MAPPING} or {_INDEX} beside them"
        )
    return dict(zip(ids, _meta._IMAGENET_CATEGORIES, strict=True))


def _from_mapping(text: str) -> dict[str, str]:
    rows = sorted(line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {identifier: names.partition(",")[0].strip() for identifier, names in rows}


def _from_index(text: str) -> dict[str, str]:
    rows = sorted(json.loads(text).items(), key=lambda row: int(row[0]))
    return {identifier: name for _, (identifier, name) in rows}
