"""What the tests of the engine share: evaluations of a second, what their folders hold, and linear laws."""

import csv
import sqlite3
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.progress import Progress
from robustlab.data import Split
from robustlab.evaluation.coordinator import EvaluationOptions, execute
from robustlab.runs.run import EvaluationFolder

SHAPE = (1, 4, 5)


class Notes(Progress):
    """Remembers what the user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.states: list[tuple[str, str]] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        del seconds, remark
        self.states.append((name, state))


def evaluate(
    folder: Path, model: nn.Module, split: Split, progress: Progress | None = None, **options: Any
) -> EvaluationFolder:
    """Evaluate a module in fp32, without proofs or a report, unless the options say otherwise."""
    defaults: dict[str, Any] = {"attacks": "pgd(steps=10)", "precision": "fp32", "batch_size": 16}
    defaults |= {
        "out": str(folder),
        "certify": False,
        "checks": False,
        "dataset": split,
        "threat": "linf(eps=0.02)",
    }
    return execute(EvaluationOptions(model=model, **(defaults | options)), progress)


def verdicts(run: EvaluationFolder) -> dict[int, dict[str, str]]:
    """Return the rows of images.csv by image id."""
    with (run.folder / "images.csv").open() as file:
        return {int(row["image_id"]): row for row in csv.DictReader(file)}


def states(run: EvaluationFolder) -> dict[int, str]:
    return {number: row["state"] for number, row in verdicts(run).items()}


def table(folder: Path, name: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """Return a table of the ledger, sorted."""
    db = sqlite3.connect(folder / "ledger.sqlite")
    try:
        return sorted(db.execute(f"SELECT {columns} FROM {name}").fetchall())
    finally:
        db.close()


def split_of(images: Tensor, labels: Tensor, ids: Tensor | None = None) -> Split:
    ids = torch.arange(len(labels)) if ids is None else ids
    return Split(images=images, labels=labels, ids=ids, name="test")


def grey_split(model: nn.Module, n: int = 60, shape: tuple[int, int, int] = SHAPE, wrong: int = 3) -> Split:
    """Return images between 0.3 and 0.7, which the model classifies correctly but for the first few."""
    ids = 100 + 7 * torch.arange(n)
    images = 0.3 + 0.4 * seeding.uniform(seeding.derive(5, "grey"), ids, shape)
    labels = model(images).argmax(dim=1)
    classes = model(images).shape[1]
    labels[:wrong] = (labels[:wrong] + 1) % classes
    return split_of(images, labels, ids)


def weights(model: nn.Module) -> Tensor:
    layer: Any = model.get_submodule("1")
    weight: Tensor = layer.weight.detach().double()
    return weight


def linear_radii(model: nn.Module, split: Split, norm: str) -> Tensor:
    """Return how far each image is from being misclassified, 0 where it is.

    The box does not matter up to 0.3 within linf, l2 and l1, and is heeded within l0.
    """
    images, weight = split.pixels(slice(None)), weights(model)
    logits = model(images).detach().double()
    here = split.labels[:, None]
    margins = logits.gather(1, here) - logits
    slopes = (weight[split.labels][:, None] - weight[None]).flatten(2)
    if norm == "l0":
        values = images.double().flatten(1)[:, None]
        # What each value takes from the margin at its wall; the greatest first.
        takes = torch.where(slopes > 0, slopes * values, -slopes * (1 - values))
        left = margins[:, :, None] - takes.sort(dim=2, descending=True).values.cumsum(dim=2)
        radii = (left > 0).sum(dim=2) + 1.0
        radii = torch.where(margins <= 0, 0.0, radii).scatter(1, here, torch.inf)
        nearest: Tensor = radii.amin(dim=1)
        return nearest
    order = {"linf": 1, "l2": 2, "l1": torch.inf}[norm]
    dual = torch.linalg.vector_norm(slopes, ord=order, dim=2)
    nearest = (margins / dual.clamp(min=1e-12)).scatter(1, here, torch.inf).amin(dim=1)
    return nearest.clamp(min=0.0)
