"""Arranges a study's pictures for the page."""

from collections.abc import Sequence
from typing import NamedTuple

from robustlab.core.errors import RunError
from robustlab.report.arrays import Arrays
from robustlab.report.pictures import data_uri
from robustlab.report.text import class_name
from robustlab.runs.results import Gallery, GalleryColumn, Samples


class Shown(NamedTuple):
    """A picture with the classifier's answer; ``wrong``: the classifier misclassifies it."""

    uri: str
    label: str
    prediction: str
    confidence: float
    wrong: bool


class Exhibit(NamedTuple):
    """The gallery: a title and a choice of values per column, a list of pictures per test image."""

    columns: list[GalleryColumn]
    rows: list[list[Shown]]

    @property
    def heads(self) -> list[tuple[str, list[str | None]]]:
        """Neighbouring columns of one title, under one head: the title, and their choices."""
        heads: list[tuple[str, list[str | None]]] = []
        for column in self.columns:
            if heads and heads[-1][0] == column.title:
                heads[-1][1].append(column.variant)
            else:
                heads.append((column.title, [column.variant]))
        return heads

    @property
    def telling(self) -> list[Shown]:
        """The most interesting row: correct at first, then misclassified as often as possible."""
        return max(self.rows, key=lambda row: (not row[0].wrong, sum(shown.wrong for shown in row)))


class Strip(NamedTuple):
    """The pictures of a generative network: pairs of an original and its reconstruction, and free draws."""

    title: str
    pairs: list[tuple[str, str]]
    drawn: list[str]


def exhibit(gallery: Gallery, arrays: Arrays, class_names: Sequence[str] = ()) -> Exhibit | None:
    """Return the gallery with its pictures, or None if it has none; missing ones are a `RunError`."""
    pictures = arrays.pictures(gallery.file, "pictures")
    for column in gallery.columns:
        if not all(0 <= picture.index < len(pictures) for picture in column.pictures):
            raise RunError(f"results.json is damaged: the gallery's column {column.title!r} lacks pictures")
    if not gallery.columns or not gallery.labels:
        return None
    rows = [
        [
            Shown(
                data_uri(pictures[picture.index]),
                class_name(label, class_names),
                class_name(picture.prediction, class_names),
                picture.confidence,
                picture.prediction != label,
            )
            for picture in (column.pictures[place] for column in gallery.columns)
        ]
        for place, label in enumerate(gallery.labels)
    ]
    return Exhibit(gallery.columns, rows)


def strip(samples: Samples, arrays: Arrays) -> Strip:
    """Return a generative network's pictures; missing ones are a `RunError`."""
    uris = {
        name: [data_uri(picture) for picture in arrays.pictures(samples.file, name)]
        for name in samples.arrays
    }
    pairs = list(zip(uris.get("originals", []), uris.get("reconstructions", []), strict=False))
    return Strip(samples.title, pairs, uris.get("drawn", []))
