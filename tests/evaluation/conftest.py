"""What the tests of the engine share: evaluations that take a second, and what their folders hold."""

import csv
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.core.progress import Progress
from robustlab.core.run import EvaluationRun
from robustlab.data import Split
from robustlab.evaluation.engine import EvaluationOptions, execute


class Notes(Progress):
    """Remembers what the user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.states: list[tuple[str, str]] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def stage(self, name: str, state: str, seconds: float = 0.0) -> None:
        del seconds
        self.states.append((name, state))


Evaluate = Callable[..., EvaluationRun]


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """Evaluate a module on a split, in fp32, without a report; the folder is the same in every call."""

    def call(model: nn.Module, split: Split, progress: Progress | None = None, **options: Any) -> EvaluationRun:
        defaults: dict[str, Any] = {"attacks": "pgd(steps=10)", "precision": "fp32", "batch_size": 16}
        defaults |= {"out": str(tmp_path / "run"), "certify": False, "dataset": split}
        return execute(EvaluationOptions(model=model, **(defaults | options)), progress)

    return call


def states(run: EvaluationRun) -> dict[int, str]:
    """Return the verdicts of images.csv by image id."""
    with (run.folder / "images.csv").open() as file:
        return {int(row["image_id"]): row["state"] for row in csv.DictReader(file)}


def rows_of(folder: Path, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """Return a table of the ledger, sorted."""
    db = sqlite3.connect(folder / "ledger.sqlite")
    try:
        return sorted(db.execute(f"SELECT {columns} FROM {table}").fetchall())
    finally:
        db.close()


def split_of(images: Tensor, labels: Tensor, ids: Tensor | None = None) -> Split:
    return Split(
        images=images, labels=labels, ids=torch.arange(len(labels)) if ids is None else ids, name="test"
    )
