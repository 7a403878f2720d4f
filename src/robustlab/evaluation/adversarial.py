"""The adversarial images of a finished evaluation, read from its ledger, and written as files."""

import csv
import io
from collections.abc import Collection
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustlab.core.errors import DataError, RobustlabError, RunError
from robustlab.core.files import write_bytes, write_text, writing
from robustlab.core.tolerance import with_tolerance
from robustlab.core.untrusted import read_json
from robustlab.data import Split, load_test
from robustlab.evaluation.finished import read_finished
from robustlab.evaluation.jobs.eight_bit import to_8_bit, to_png
from robustlab.evaluation.jobs.stages import images_of
from robustlab.models.files import load_tensors
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.images_csv import ImageVerdict
from robustlab.runs.ledger import read_examples
from robustlab.runs.manifest import AGAIN
from robustlab.runs.run import EvaluationFolder
from robustlab.threats.base import as_threat

ImageFormat = Literal["png", "npz"]

_CHANNELS = (1, 2, 3, 4)
"""The numbers of channels that a PNG file can hold."""

_SAME = 1e-6
"""A smaller difference of two values is a rounding error of float32."""


class Adversarial(NamedTuple):
    """The adversarial images of an evaluation: for each broken image the one that broke it.

    Attributes:
        images: (M, C, H, W) float32 in [0, 1], exactly as they were measured.
        labels: (M,) int64, the true classes.
        predictions: (M,) int64, the classes that the classifier sees; -1: no valid answer.
        ids: (M,) int64, the images' ids, as in images.csv.
    """

    images: Tensor
    labels: Tensor
    predictions: Tensor
    ids: Tensor


def adversarial_of(run: EvaluationFolder, only: Collection[int] | None = None) -> Adversarial:
    """Read the adversarial images: all, or those of some ids.

    Raises:
        RunError: the run's files are missing or damaged.
    """
    return _read(run, only)[1]


def save_adversarial(run: EvaluationFolder, kind: ImageFormat, folder: Path) -> Path:
    """Write the adversarial images into a folder, which is made if absent, and return its path.

    ``"npz"`` writes ``adversarial.npz``, without loss: the fields of `Adversarial`. ``"png"`` writes a file
    for each image with 8 bits per value, and ``adversarial.csv``, which says what the rounding changed.
    """
    broken, found = _read(run)
    if kind == "png" and found.images.shape[1] not in _CHANNELS:
        raise RobustlabError(
            f"a PNG file holds 1 to 4 channels; these images have {found.images.shape[1]}: save them as 'npz'"
        )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if kind == "npz":
        buffer = io.BytesIO()
        arrays = {name: value.numpy() for name, value in found._asdict().items()}
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_bytes(folder / "adversarial.npz", buffer.getvalue())
        return folder
    clean = _clean_images(run, found.ids)
    saved = [
        _to_8_bit(run.results, image, clean.get(number))
        for number, image in zip(found.ids.tolist(), found.images, strict=True)
    ]
    for number, image in zip(found.ids.tolist(), saved, strict=True):
        write_bytes(folder / f"{number}.png", to_png(image))
    write_text(folder / "adversarial.csv", _listed(run.results, broken, found.images, saved, clean))
    return folder


def _read(
    run: EvaluationFolder, only: Collection[int] | None = None
) -> tuple[list[ImageVerdict], Adversarial]:
    """Return the verdicts on the broken images, or on those of some ids, and their adversarial images."""
    finished = read_finished(run.folder)
    broken = [verdict for verdict in finished.verdicts if verdict.state == "broken"]
    if only is not None:
        broken = [verdict for verdict in broken if verdict.image_id in only]
    stored = _stored(run.folder, {verdict.image_id: verdict.attack for verdict in broken})
    try:
        images = images_of(stored, finished.results.images.shape, png=finished.results.eight_bit)
    except Exception as error:  # of zlib, of torch or of Pillow
        raise RunError(f"{run.folder}: the ledger does not fit results.json ({error}); {AGAIN}") from None
    columns = (
        torch.tensor([getattr(verdict, name) for verdict in broken], dtype=torch.int64)
        for name in ("label", "prediction", "image_id")
    )
    return broken, Adversarial(images, *columns)


def _stored(folder: Path, attacks: dict[int, str]) -> list[bytes]:
    if not attacks:
        return []
    try:
        key = read_json(folder / "manifest.json")["resolved"]["problem"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / 'manifest.json'} is damaged ({error!r}); {AGAIN}") from None
    # The rows of a study's evaluations are in the study's ledger, two folders up.
    places = [folder / "ledger.sqlite", folder.parent.parent / "ledger.sqlite"]
    ledger = next((place for place in places if place.is_file()), places[0])
    found = read_examples(ledger, str(key), attacks)
    return [found[number] for number in attacks]


def _to_8_bit(results: Evaluation, image: Tensor, clean: Tensor | None) -> Tensor:
    """Return the nearest 8-bit image (C, H, W), or the nearest within eps of a known 8-bit clean image."""
    if clean is not None and results.bounded and (clean - _rounded(clean)).abs().max() < _SAME:
        image = to_8_bit(image[None], clean[None], as_threat(results.threat))[0]
    return _rounded(image)


def _rounded(image: Tensor) -> Tensor:
    return image.mul(255).round().div(255)


def _listed(
    results: Evaluation,
    broken: list[ImageVerdict],
    images: Tensor,
    saved: list[Tensor],
    clean: dict[int, Tensor],
) -> str:
    """Return adversarial.csv.

    ``saved_distance`` and ``within_eps`` are about the PNG file, and empty if the clean image is not known or
    no distance is bounded. ``measured``: whether the file holds exactly the image that was measured.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head = ["file", "image_id", "label", "prediction", "attack", "distance"]
    writer.writerow([*head, "saved_distance", "within_eps", "measured"])
    for verdict, image, kept in zip(broken, images, saved, strict=True):
        distance: list[object] = ["", ""]
        if results.bounded and verdict.image_id in clean:
            threat = as_threat(results.threat)
            moved = float(threat.distance(kept[None], clean[verdict.image_id][None]))
            distance = [moved, moved <= with_tolerance(threat.eps)]
        exact = bool((image - kept).abs().max() < _SAME)
        row = [verdict.image_id, verdict.label, verdict.prediction, verdict.attack, verdict.distance]
        writer.writerow([f"{verdict.image_id}.png", *row, *distance, exact])
    return buffer.getvalue()


def _of_split(split: Split, ids: Tensor) -> dict[int, Tensor]:
    found = split.take(torch.isin(split.ids, ids).nonzero().flatten())
    return dict(zip(found.ids.tolist(), found.pixels(slice(None)), strict=True))


def _clean_images(run: EvaluationFolder, ids: Tensor) -> dict[int, Tensor]:
    """Return the clean images of some ids: those that this process attacked, or of a registered dataset.

    Else those that the page shows.
    """
    results = run.results
    if isinstance(run.images, Split):
        return _of_split(run.images, ids)
    try:
        # Only a dataset without arguments: a run may come from anywhere, so no code that it names is run, no
        # address is asked, and only files with a known hash are read.
        root = read_json(run.folder / "manifest.json")["asked"].get("data_root")
        if not results.images.name.isidentifier():
            raise DataError("its name has a path")
        split = load_test(results.images.name, data_root=root, download=False).split
        if split.sha256() == results.images.split_sha256:
            return _of_split(split, ids)
    except (RobustlabError, OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # the user's own images, or files that are not here
    path = run.folder / (results.pictures or "")
    if results.pictures is None or not path.resolve().is_relative_to(run.folder.resolve()):
        return {}
    try:
        shown = load_tensors(path)[0]["clean"]
        return {image.image_id: shown[image.index] for image in results.broken}
    except (RobustlabError, KeyError, IndexError):
        return {}
