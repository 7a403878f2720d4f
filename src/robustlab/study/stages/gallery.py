"""Collects test images side by side: clean, perturbed, restored, with the classifier's answers."""

from dataclasses import dataclass
from typing import Any

import torch

from robustlab.defenses import PurifiedClassifier
from robustlab.evaluation.jobs.context import program
from robustlab.models.files import save_tensors
from robustlab.study.stages.base import StudyStage
from robustlab.study.workspace import Question, Workspace


@dataclass(frozen=True, kw_only=True)
class GalleryStage(StudyStage):
    """The first test image of each class after each evaluation."""

    columns: tuple[Question, ...]
    seed: int

    @property
    def questions(self) -> tuple[Question, ...]:
        return self.columns

    def identity(self) -> dict[str, Any]:
        columns = [column.identity() for column in self.columns]
        return {"columns": columns, "program": program(), "seed": self.seed}

    def intact(self, workspace: Workspace) -> bool:
        return workspace.has_arrays(self.key)

    def run(self, workspace: Workspace) -> dict[str, Any]:
        test = workspace.dataset.test
        rows = [
            int((test.labels == c).nonzero()[0]) for c in range(workspace.dataset.classes) if c in test.labels
        ]
        chosen = test.take(torch.tensor(rows))
        pictures: list[torch.Tensor] = []
        columns = []
        for column in self.columns:
            images = chosen.pixels(slice(None))
            if column.attacks is not None:
                images = workspace.perturbed(column, chosen).to(images.device)
            with workspace.asked(column, chosen) as asked:
                answers = asked.context.responses(images, "gallery")
                shown, model = images, asked.context.model
                if isinstance(model, PurifiedClassifier):
                    with torch.no_grad():
                        shown = model.purifier(images)
            columns.append(
                [
                    {"index": len(pictures) + place, "prediction": prediction, "confidence": confidence}
                    for place, (prediction, confidence) in enumerate(
                        zip(answers.classes.tolist(), answers.confidences.tolist(), strict=True)
                    )
                ]
            )
            pictures += list(to_bytes(shown))
        path = workspace.store.array_path(self.key)
        save_tensors(path, {"pictures": torch.stack(pictures)}, {"stage": self.key})
        return {
            "ids": chosen.ids.tolist(),
            "labels": chosen.labels.tolist(),
            "columns": columns,
            "file": str(path.relative_to(workspace.store.folder)),
        }


def to_bytes(images: torch.Tensor) -> torch.Tensor:
    """Return pixel-scale images as uint8 on the CPU."""
    return images.detach().mul(255).round().to(torch.uint8).cpu()
