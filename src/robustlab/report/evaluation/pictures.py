"""The broken images by true class, each with its change."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np

from robustlab.core.errors import RunError
from robustlab.report.arrays import Arrays, Images
from robustlab.report.evaluation.view import EvaluationView
from robustlab.report.pictures import as_pictures, data_uri, perturbation_uri
from robustlab.runs.evaluation import BrokenImage, Flip

_BUDGET = 3_500_000
"""The largest number of characters of all pictures, so that the page stays under 5 MB."""
_STRIP = 6
"""The number of images in the strip on the first screen."""
_SIDE = 128
"""The longest side of a picture in pixels; larger images are subsampled."""


class Case(NamedTuple):
    """A broken image: before, after, and the difference."""

    image: BrokenImage
    clean: str
    adversarial: str
    change: str


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
        step: every ``step``-th pixel is drawn.
    """

    groups: list[Group]
    strip: list[Case]
    scale: float
    colour: bool
    step: int

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
    step = -(-max(clean.shape[2:]) // _SIDE)
    strip = [_case(image, clean, adversarial, scale, step) for image in most_convincing(results.broken)]
    cases: list[Case] = []
    spent = sum(len(case.clean) + len(case.adversarial) for case in strip)
    for image in _in_turns(sorted(results.broken, key=lambda image: (image.label, image.image_id))):
        case = _case(image, clean, adversarial, scale, step)
        spent += len(case.clean) + len(case.adversarial) + len(case.change)
        if cases and spent > _BUDGET:
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
    return Album(groups, strip, scale, clean.shape[1] == 3, step)


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


def _case(image: BrokenImage, clean: Images, adversarial: Images, scale: float, step: int) -> Case:
    before, after = (images[image.index][:, ::step, ::step] for images in (clean, adversarial))
    return Case(
        image,
        data_uri(as_pictures(before)),
        data_uri(as_pictures(after)),
        perturbation_uri(after - before, scale),
    )
