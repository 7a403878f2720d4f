"""The images to attack: a dataset's test split, a user's function, or a user's own images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from robustlab.core import user_code
from robustlab.core.errors import DataError
from robustlab.core.text import a_kind, one_line
from robustlab.data import Dataset, Split, check_dataset, load_test
from robustlab.data.own import Items, OwnImages, as_split, own_images

DEFAULT_N = 1000
"""The default number of attacked images of a named dataset."""
_LONGEST_NAME = 60
"""The most characters of a class's name."""


@dataclass(frozen=True, kw_only=True)
class EvaluationImages:
    """A whole split, of which the first ``n`` images are attacked.

    ``remarks`` are notes for the user; ``class_names`` are empty if the images come without.
    """

    split: Split
    name: str
    n: int
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def images(self) -> Split:
        """The images to attack."""
        return self.split.take(slice(self.n))


def load_images(
    dataset: str | Path | Split | Dataset | OwnImages,
    *,
    data_root: str | Path | None = None,
    n: int | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> EvaluationImages:
    """Choose the images to attack.

    Args:
        dataset: a dataset, its name or its spec (for its test split); ``FILE.py:FUNCTION``, which returns
            images and labels for `own_images`, a split or a torch ``Dataset``; a split; or what `as_split`
            takes.
        data_root: the first folder in which data is searched for.
        n: the number of images; default: 1,000 of a named dataset, all of a user's own images.
        note: called with a message if the import of a user's file takes long.

    Raises:
        DataError, SetupError: the images do not exist, or their number is 0.
    """
    dataset = str(dataset) if isinstance(dataset, Path) else dataset
    remarks: list[str] = []
    class_names: tuple[str, ...] = ()
    if isinstance(dataset, Split):
        split, name, default = _checked(dataset), dataset.name, len(dataset)
    elif isinstance(dataset, tuple | TorchDataset | DataLoader | Items):
        own = as_split(dataset, note)
        split, name, default = own.split, own.name, len(own.split)
        remarks, class_names = [*own.remarks], shown_names(own.class_names)
    elif isinstance(dataset, str) and user_code.is_user_code(dataset):
        made, _ = user_code.call(dataset, note)
        if isinstance(made, Split | TorchDataset | DataLoader | Items):
            return replace(load_images(made, n=n), name=one_line(dataset, 200))
        if not isinstance(made, tuple | list) or len(made) != 2:
            raise DataError(
                f"{dataset} must return (images, labels), a Split or a Dataset, but returned {a_kind(made)}"
            )
        split, name = own_images(*made), dataset
        default = len(split)
    else:
        loaded = load_test(dataset, data_root=data_root)
        split, name, default = loaded.split, loaded.name, DEFAULT_N
        class_names = shown_names(loaded.class_names)
        remarks += loaded.remarks
        if loaded.fallback:
            wished = check_dataset(dataset).wished.name
            remarks.append(f"{wished} is not available: these are {loaded.source}. Why: {loaded.fallback}")
    if len(set(split.ids.tolist())) < len(split):
        raise DataError("two images have the same id; every draw and every verdict goes by the id")
    number = default if n is None else n
    if number < 1 or len(split) == 0:
        raise DataError(f"there must be at least one image to attack; n is {number}, of {len(split)} images")
    if n is not None and n > len(split):
        remarks.append(f"there are only {len(split)} images, not {n}; all of them are attacked")
    if n is not None and n < len(split) and (unseen := _unseen(split.labels, n)):
        remarks.append(unseen)
    return EvaluationImages(
        split=split,
        name=one_line(name, 200),
        n=min(number, len(split)),
        class_names=class_names,
        remarks=tuple(remarks),
    )


def shown_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return names of classes as the page shows them: in one line, and not too long."""
    return tuple(one_line(word, _LONGEST_NAME) for word in class_names)


def _unseen(labels: Tensor, n: int) -> str:
    """Return a note if the first n of images that are sorted by class leave out half of the classes."""
    shown, known = (len({*part.tolist()}) for part in (labels[:n], labels))
    if 2 * shown > min(known, n) or (labels.diff() < 0).any():
        return ""
    return f"the images are sorted by class: the first {n} show {shown} of {known} classes; shuffle them"


def _checked(split: Split) -> Split:
    checked = replace(own_images(split.images, split.labels), features=split.features)
    ids = split.ids
    if not isinstance(ids, Tensor) or ids.shape != checked.ids.shape or ids.dtype != torch.int64:
        raise DataError(f"ids must be an int64 torch.Tensor of shape ({len(checked)},), one per image")
    return replace(checked, ids=ids.cpu(), name=split.name)
