"""A folder of pictures with one folder per class."""

from pathlib import Path
from typing import Literal

from robustlab.core.errors import DataError
from robustlab.core.spec import BareText, register
from robustlab.data.class_folders import classes_of, folders_in, part_of, pictures_in
from robustlab.data.parts import PartDataset, ReadPart, no_training_part, placed
from robustlab.data.resizing import Pixels, Resize, Resizing

_TRAIN, _TEST = "train", ("test", "val", "valid", "validation")


@register("folder")
class Folder(PartDataset):
    """Your own pictures, in one folder per class; these folders may be in ``train`` and ``val``.

    The classes are numbered in the order of their sorted names. Pictures are read as they are needed.
    """

    path: BareText
    """The folder."""
    resize: Resize = None
    """The new length of the shorter side, or (height, width)."""
    crop: Pixels | None = None
    """The height and width of the centre that is cut out, after resizing."""
    channels: Literal[1, 3] = 3
    """3 for colours, 1 for grey."""

    def part(self, *, train: bool, data_root: Path | None, download: bool) -> ReadPart:
        del download
        whole = placed(self.path, data_root)
        if not whole.is_dir():
            raise DataError(f"{whole} is a file; expected a folder of pictures")
        parts = {folder.name: folder for folder in folders_in(whole)}
        folder = whole
        if parts and parts.keys() <= {_TRAIN, *_TEST}:
            wanted = (_TRAIN,) if train else _TEST
            folder = next((parts[name] for name in wanted if name in parts), folder)
            if folder == whole:
                raise DataError(f"{whole} has no folder {' or '.join(wanted)}; found {', '.join(parts)}")
        elif train:
            raise no_training_part(self)
        classes = classes_of(parts[_TRAIN] if folder != whole and _TRAIN in parts else folder)
        paths, labels = pictures_in(folder, {name: number for number, name in enumerate(classes)})
        resizing = Resizing(resize=self.resize, crop=self.crop, channels=self.channels)
        return part_of(paths, labels, resizing, classes, f"{len(paths):,} pictures in {folder}")
