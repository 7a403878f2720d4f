"""The broken images by true class, each with its change."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np

from robustlab.core.errors import RunError
from robustlab.report.arrays import Arrays, Images
from robustlab.report.evaluation.view import EvaluationView
from robustlab.report.pictures import as_pictures, data_uri, perturbation_uri, smaller, smaller_change
from robustlab.runs.evaluation import BrokenImage, Flip
from robustlab.runs.subject import Ranges

_BUDGET, _BUDGET_OF_PHOTOS = 3_500_000, 1_500_000
"""The largest number of characters of all pictures, so that the page stays under 5 MB, or 2.5 MB."""
_PHOTO = 64
"""Images with a longer side than this are drawn as JPEG."""
_STRIP = 6
"""The number of images in the strip on the first screen."""
_SIDE = 256
"""The longest side of a picture in pixels; larger images are drawn smaller."""
_VALUES = 6
"""The most changed values of a row that are shown."""
_MAX_TABS = 30
"""The most classes that have a part of the page of their own."""


class ChangedValue(NamedTuple):
    """A value of a row that the attacker changed, in its own units."""

    name: str
    before: float
    after: float


class Case(NamedTuple):
    """A broken image: before, after, and the difference; of a row its most changed values, largest first."""

    image: BrokenImage
    clean: str
    adversarial: str
    change: str
    values: list[ChangedValue]
    changed: int


class Group(NamedTuple):
    """The broken images of one class, and the counts of all of them, with or without a picture."""

    label: int
    cases: list[Case]
    flips: list[Flip]

    @property
    def broken(self) -> int:
        """Images of the class that were broken."""
        return max(sum(flip.n for flip in self.flips), len(self.cases))


class Album(NamedTuple):
    """All pictures of the page.

    Attributes:
        strip: the most convincing images, of as many classes as possible.
        scale: the change in full colour, on the pixel scale.
        colour: whether the images have three channels.
        photo: whether the images are large, and drawn as JPEG.
        step: a drawn pixel stands for ``step`` x ``step`` pixels.
    """

    groups: list[Group]
    strip: list[Case]
    scale: float
    colour: bool
    photo: bool
    step: int

    @property
    def tabs(self) -> bool:
        """Whether each class has its own part, not one part for all."""
        return len(self.groups) <= _MAX_TABS

    @property
    def shown(self) -> int:
        """The number of images with a picture."""
        return sum(len(group.cases) for group in self.groups)


def album(view: EvaluationView, arrays: Arrays) -> Album | None:
    """Return the pictures, about as many of each class, or None if there are none.

    Raises:
        RunError: the arrays are missing, damaged or do not fit the results.
    """
    results = view.results
    if results.pictures is None or not results.broken:
        return None
    clean, adversarial = (arrays.images(results.pictures, name) for name in ("clean", "adversarial"))
    if clean.shape != adversarial.shape or any(not 0 <= image.index < len(clean) for image in results.broken):
        raise RunError("results.json is damaged: broken images lack pictures")
    change = adversarial - clean
    scale = float(np.abs(change).max())
    longest = max(clean.shape[2:])
    step, photo = -(-longest // _SIDE), longest > _PHOTO

    def case_of(image: BrokenImage) -> Case:
        before, after = clean[image.index], adversarial[image.index]
        return Case(
            image,
            data_uri(as_pictures(smaller(before, step)), photo=photo),
            data_uri(as_pictures(smaller(after, step)), photo=photo),
            perturbation_uri(smaller_change(after - before, step), scale, photo=photo),
            _changed(results.images.rows, before, after),
            int((before != after).sum()),
        )

    strip = [case_of(image) for image in most_convincing(results.broken)]
    cases: list[Case] = []
    spent = sum(len(case.clean) + len(case.adversarial) for case in strip)
    for image in _in_turns(sorted(results.broken, key=lambda image: (image.label, image.image_id))):
        case = case_of(image)
        spent += len(case.clean) + len(case.adversarial) + len(case.change)
        if cases and spent > (_BUDGET_OF_PHOTOS if photo else _BUDGET):
            break
        cases.append(case)
    labels, flips = sorted({case.image.label for case in cases}), view.flips
    groups = [
        Group(
            label,
            [case for case in cases if case.image.label == label],
            [flip for flip in flips if flip.label == label],
        )
        for label in labels
    ]
    return Album(groups, strip, scale, clean.shape[1] == 3, photo, step)


def _changed(ranges: Ranges | None, before: Images, after: Images) -> list[ChangedValue]:
    if ranges is None:
        return []
    low, high = np.array(ranges.low), np.array(ranges.high)
    first, second = (low + (high - low) * image.ravel() for image in (before, after))
    places = np.argsort(-np.abs(after - before).ravel(), kind="stable")[:_VALUES]
    return [
        ChangedValue(_name(ranges, int(place), before.shape[-1]), float(first[place]), float(second[place]))
        for place in places
        if first[place] != second[place]
    ]


def _name(ranges: Ranges, place: int, length: int) -> str:
    """Return the name of a value, or its place."""
    row, column = divmod(place, length) if ranges.signal else (place, 0)
    kind = "channel" if ranges.signal else "value"
    name = ranges.names[row] if row < len(ranges.names) else f"{kind} {row}"
    return f"{name}, at {column}" if ranges.signal else name


def most_convincing(images: list[BrokenImage]) -> list[BrokenImage]:
    """Return the images for the strip: the most confident errors, nearest first; the classes take turns."""

    return _in_turns(sorted(images, key=lambda image: (-image.confidence, image.distance, image.image_id)))[
        :_STRIP
    ]


def _in_turns(images: Iterable[BrokenImage]) -> list[BrokenImage]:
    """Order the images so that the classes take turns."""
    classes: dict[int, list[BrokenImage]] = {}
    for image in images:
        classes.setdefault(image.label, []).append(image)
    turns = zip_longest(*classes.values())
    return [image for image in chain.from_iterable(turns) if image is not None]
