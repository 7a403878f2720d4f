"""A NumPy file of images and labels."""

import zipfile
from pathlib import Path

import numpy as np

from robustlab.core.errors import DataError
from robustlab.core.spec import BareText, register
from robustlab.data.arrays import as_labels, as_split_images
from robustlab.data.parts import PartDataset, ReadPart, mixed, no_training_part, placed

_TRAIN = (("x_train", "y_train"), ("train_images", "train_labels"))
_TEST = (
    *(("x_test", "y_test"), ("test_images", "test_labels"), ("images", "labels"), ("x", "y")),
    *(("X", "y"), ("data", "labels"), ("arr_0", "arr_1")),
)
"""The accepted names of images and labels; the first pair that the file has is taken."""


@register("npz")
class NPZ(PartDataset):
    """Your own images and labels in an .npz file, as arrays x_test and y_test, or images and labels.

    Or x and y, or arr_0 and arr_1. With x_train and y_train it may also be trained on. Images are (N, H, W),
    (N, C, H, W) or (N, H, W, C), whole numbers in 0..255 or floats in [0, 1].
    """

    path: BareText
    """The file."""

    def part(self, *, train: bool, data_root: Path | None, download: bool) -> ReadPart:
        del download
        file = placed(self.path, data_root)
        try:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise DataError(f"{file} holds one array; expected an .npz file of images and labels")
            with content:
                names = self._names(content.files, file, train=train)
                arrays = [content[name] for name in names]
        except (OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{file} can't be read as an .npz file: {error}") from None
        except ValueError:  # NumPy advises to unpickle it
            raise DataError(
                f"{file} is not an .npz file of plain arrays; Python objects are not read"
            ) from None
        images, remarks = as_split_images(arrays[0], f"{names[0]} in {file.name}")
        labels = as_labels(arrays[1], len(images), f"{names[1]} in {file.name}")
        order, remark = mixed(labels)
        return ReadPart(
            images=images,
            labels=labels,
            source=f"the arrays {names[0]} and {names[1]} in {file}",
            remarks=remarks + remark,
            order=order,
        )

    def _names(self, found: list[str], file: Path, *, train: bool) -> tuple[str, str]:
        pairs = _TRAIN if train else _TEST
        pair = next((pair for pair in pairs if {*pair} <= {*found}), None)
        if pair is None and train and any({*pair} <= {*found} for pair in _TEST):
            raise no_training_part(self)
        if pair is None:
            expected = ", or ".join(map(" and ".join, pairs))
            raise DataError(
                f"{file.name} must hold the arrays {expected}; found {', '.join(found) or 'none'}"
            )
        return pair
