"""The broken images for the page."""

from collections import defaultdict
from itertools import chain, zip_longest
from pathlib import Path

import torch

from robustlab.evaluation.coordinator.cascade import Cascade, CascadeResult
from robustlab.models.files import save_tensors
from robustlab.runs.evaluation import BrokenImage
from robustlab.runs.images_csv import ImageVerdict

_MAX_PICTURES = 200
_MAX_VALUES = 4_000_000
"""The largest number of values of all pictures: 16 MB."""


def chosen(found: list[ImageVerdict], values_per_image: int) -> list[ImageVerdict]:
    """Return the broken images to show: the classes take turns, the images of a class come in order."""
    most = min(_MAX_PICTURES, max(1, _MAX_VALUES // values_per_image))
    classes: dict[int, list[ImageVerdict]] = defaultdict(list)
    for verdict in found:
        if verdict.state == "broken":
            classes[verdict.label].append(verdict)
    turns = zip_longest(*(classes[label] for label in sorted(classes)))
    return [verdict for verdict in chain.from_iterable(turns) if verdict is not None][:most]


def save_pictures(
    cascade: Cascade, findings: CascadeResult, found: list[ImageVerdict], folder: Path
) -> tuple[list[BrokenImage], str | None]:
    """Write clean and adversarial images as arrays; return their descriptions, and the file's path."""
    context = cascade.context
    shown = chosen(found, context.images.images.shape[1:].numel())
    if not shown:
        return [], None
    stages = {finding.stage.name: finding.stage for finding in findings.attacks}
    adversarial = [cascade.stored_images(stages[v.attack], [v.image_id]) for v in shown]
    place = {number: row for row, number in enumerate(context.images.ids.tolist())}
    clean = context.images.take(torch.tensor([place[v.image_id] for v in shown])).pixels(slice(None))
    path = folder / "arrays" / f"{context.key}.safetensors"
    save_tensors(path, {"clean": clean, "adversarial": torch.cat(adversarial)}, {"problem": context.key})
    described = [
        BrokenImage(
            index=index,
            image_id=v.image_id,
            label=v.label,
            clean_confidence=v.clean_confidence,
            prediction=v.prediction,
            confidence=v.confidence,
            attack=v.attack,
            restart=v.restart,
            distance=v.distance,
        )
        for index, v in enumerate(shown)
    ]
    return described, str(path.relative_to(folder))
