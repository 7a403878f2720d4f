"""A user's own images in Python: arrays, tensors, and the datasets and loaders of torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from robustlab.core.calling import calling
from robustlab.core.class_names import class_names_of
from robustlab.core.errors import DataError, offer
from robustlab.core.inputs import as_numbers, split_images
from robustlab.core.text import a_kind
from robustlab.data.resizing import Resizing
from robustlab.data.source import ImageSource, LazyImages
from robustlab.data.split import Split


@runtime_checkable
class Items(Protocol):
    """A dataset of MAITE's protocol for image classification: items are (image, target, metadata)."""

    @property
    def metadata(self) -> Any:
        """A mapping, with the names of the classes under ``index2label``."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Any: ...


OwnImages = tuple[Any, Any] | Dataset[Any] | DataLoader[Any] | Items
"""(images, labels), a dataset, or a loader."""

_IMAGE, _LABEL = ("image", "img", "pixel_values", "images"), ("label", "labels", "fine_label", "target")
_READ_TWICE = 8
"""Items that are read twice, to see whether a random transform is at work."""


def own_images(images: Any, labels: Any) -> Split:
    """Return a split of a user's own images, on the CPU; with ids 0..N-1.

    Args:
        images: (N, C, H, W), uint8 in 0..255 or float in [0, 1]; a tensor, a NumPy array or an `ImageSource`.
        labels: (N,) integers, the true classes.

    Raises:
        RobustlabError: the images or labels are not valid.
    """
    if isinstance(images, ImageSource):
        images = LazyImages.of(images)
    elif not isinstance(images, LazyImages):
        images = split_images(images).detach().cpu().contiguous()
    labels = as_numbers("labels", labels, torch.empty(images.shape[0], 0))
    return Split.of(images, labels, name="own")


@dataclass(frozen=True, kw_only=True)
class OwnSplit:
    """A user's own images as a split.

    `name` says what they were; `class_names` are empty if they have none; `remarks` are notes for the user.
    """

    split: Split
    name: str = "own"
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def as_split(given: OwnImages, note: Callable[[str], None] = lambda _: None) -> OwnSplit:
    """Return a user's images as a split; items of a dataset are read as they are needed, in its order.

    Args:
        given: (images, labels) for `own_images`; a torch dataset, such as a ``Subset``, whose items are
            (image, label) or have such keys; a dataset of MAITE's protocol for image classification; or a
            ``DataLoader``, for its dataset.
        note: called with a message if all items are read for their labels.

    Raises:
        RobustlabError: it is something else, or has no order, or its items are not images with labels.
    """
    if isinstance(given, tuple):
        if len(given) != 2:
            raise DataError(f"dataset must be (images, labels), found a tuple of {len(given)}")
        return OwnSplit(split=own_images(*given))
    remarks: tuple[str, ...] = ()
    collate: Callable[[list[Any]], Any] | None = None
    if isinstance(given, DataLoader):
        remarks = _of_loader(given)
        collate = None if given.collate_fn is default_collate else given.collate_fn
        given = given.dataset
    sized: Any = given
    if isinstance(given, IterableDataset) or not hasattr(given, "__len__"):
        raise DataError(
            f"dataset is {a_kind(given)}, which can't be read by number; give a dataset with __len__ and "
            "__getitem__, or (images, labels)"
        )
    inner = _innermost(given)
    name, class_names = type(inner).__name__, class_names_of(inner)
    if isinstance(given, TensorDataset) and len(given.tensors) == 2 and collate is None:
        return OwnSplit(split=own_images(*given.tensors), name=name, remarks=remarks)
    if not len(sized):
        raise DataError(f"the dataset {name} is empty")
    items = ItemImages(given, collate)
    labels = items.labels(note)
    split = Split.of(items, as_numbers("labels", labels, torch.empty(len(sized), 0)), name="own")
    return OwnSplit(split=split, name=name, class_names=class_names, remarks=remarks)


def _of_loader(loader: DataLoader[Any]) -> tuple[str, ...]:
    """Return a note on the order of a loader, or raise a `DataError` if it leaves out or repeats images."""
    sampler, batches = loader.sampler, loader.batch_sampler
    if isinstance(loader.dataset, IterableDataset) or (
        type(sampler) is SequentialSampler and (batches is None or type(batches) is BatchSampler)
    ):
        return ()
    whole = isinstance(sampler, RandomSampler) and not sampler.replacement
    if whole and sampler.num_samples == len(loader.dataset):  # type: ignore[arg-type, attr-defined]
        return ("the DataLoader shuffles; its images are read in the order of its dataset",)
    chosen = sampler if type(batches) is BatchSampler else batches
    raise DataError(
        f"the DataLoader chooses images by {a_kind(chosen)}; give the dataset itself, or a Subset of it"
    )


def _innermost(dataset: Any) -> Any:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


class ItemImages(ImageSource):
    """The images of a dataset's items, each read when it is asked for.

    Args:
        dataset: with ``__len__`` and ``__getitem__``.
        collate: what a loader makes a batch of items with; None: each item is an image and a label.
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any] | None) -> None:
        self._dataset, self._collate = dataset, collate
        step = max(1, len(dataset) // _READ_TWICE)
        places = torch.arange(0, len(dataset), step)[:_READ_TWICE]
        self._known: Tensor | None = None
        with calling("the dataset"):
            first, again = self.rows(places), self.rows(places)
        if not torch.equal(first, again):
            raise DataError(
                "the dataset returns another image when it is asked again, as with a random transform; "
                "take one without random transforms"
            )
        self.shape, self.dtype = (len(dataset), *first.shape[1:]), first.dtype

    def labels(self, note: Callable[[str], None]) -> Any:
        """Return the labels (N,): the dataset's own list of them, or those of all items."""
        known = None if self._collate else _listed(self._dataset)
        if known is None:
            note(f"all {len(self._dataset):,} items of the dataset are read for their labels")
            with calling("the dataset"):
                return [self._items([place])[1][0] for place in range(len(self._dataset))]
        self._known = torch.as_tensor(np.asarray(known))
        return self._known

    def rows(self, places: Tensor) -> Tensor:
        images, labels = self._items(places.tolist())
        for place, label in zip(places.tolist(), labels, strict=True) if self._known is not None else ():
            if self._known is not None and int(label) != int(self._known[place]):
                raise DataError(f"item {place} has the label {label}, but targets has {self._known[place]}")
        shapes = {tuple(image.shape): place for image, place in zip(images, places.tolist(), strict=True)}
        if len(shapes) > 1:
            (one, first), (other, second) = list(shapes.items())[:2]
            raise DataError(
                f"images have different shapes: item {first} {one}, item {second} {other}; add a resize and "
                "a crop to the dataset's transforms"
            )
        return torch.stack(list(images))

    def _items(self, places: list[int]) -> tuple[list[Tensor], list[Any]]:
        items = [self._dataset[place] for place in places]
        if self._collate is not None:
            images, labels = _image_and_label(self._collate(items))
            return [_as_image(image) for image in images], list(labels)
        pairs = [_image_and_label(item) for item in items]
        return [_as_image(image) for image, _ in pairs], [label for _, label in pairs]


def _listed(dataset: Any) -> Any:
    """Return the labels that a dataset lists, as torchvision's do, at a subset's places; else None."""
    if isinstance(dataset, Subset):
        known = _listed(dataset.dataset)
        return None if known is None else np.asarray(known)[np.asarray(dataset.indices, dtype=np.int64)]
    if getattr(dataset, "target_transform", None) is not None:
        return None
    known = next(
        (found for name in ("targets", "labels") if (found := getattr(dataset, name, None)) is not None), None
    )
    known = None if known is None or callable(known) else np.asarray(known)
    whole = known is not None and known.dtype.kind in "iu" and known.shape == (len(dataset),)
    return known if whole else None


def _image_and_label(item: Any) -> tuple[Any, Any]:
    if isinstance(item, tuple) and len(item) == 3 and isinstance(item[2], Mapping) and np.ndim(item[1]) == 1:
        return item[0], int(np.asarray(item[1]).argmax())  # of MAITE: a number for each class, and metadata
    if isinstance(item, tuple | list) and len(item) >= 2:
        return item[0], item[1]
    if isinstance(item, Mapping):
        found = [next((item[name] for name in names if name in item), None) for names in (_IMAGE, _LABEL)]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
        keys = ", ".join(map(str, item))
        raise DataError(
            f"an item must have an image and a label; found the keys {keys}; {offer(_IMAGE + _LABEL)}"
        )
    raise DataError(f"an item must be (image, label), found {a_kind(item)}")


def _as_image(value: Any) -> Tensor:
    """Return an item's image as (C, H, W), uint8 or float32."""
    from PIL import Image

    if isinstance(value, Image.Image):
        return Resizing(channels=1 if value.mode in {"1", "L"} else 3).tensor(value)
    if isinstance(value, np.ndarray):
        last = value.ndim == 3 and value.shape[2] in {1, 3} and value.shape[0] not in {1, 3}
        value = torch.from_numpy(np.array(value.transpose(2, 0, 1) if last else value))
    if not isinstance(value, Tensor):
        raise DataError(f"an item's image must be a picture, a tensor or an array, found {a_kind(value)}")
    image: Tensor = value[None] if value.ndim == 2 else value
    return image if image.dtype == torch.uint8 else image.to(torch.float32)
