"""Measures accuracy against a length, point by point."""

from dataclasses import dataclass
from typing import Any

from robustlab.evaluation import proportion
from robustlab.study.stages.base import StudyStage
from robustlab.study.stages.measure import Measurement
from robustlab.study.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class CurveStage(StudyStage):
    """One line of a curve: a measurement at every point, on the first ``images`` test images."""

    points: tuple[Measurement, ...]
    images: int
    seed: int

    def identity(self) -> dict[str, Any]:
        return {"points": [p.identity() for p in self.points], "images": self.images, "seed": self.seed}

    def run(self, workspace: Workspace) -> dict[str, Any]:
        split = workspace.dataset.test.take(slice(self.images))
        figures, forwards, backwards = [], 0, 0
        for number, point in enumerate(self.points):
            outcomes = point.outcomes(workspace, split, f"{self.key}/{number}")
            figures.append(
                proportion(sum(o.label == o.prediction for o in outcomes), len(outcomes)).model_dump()
            )
            forwards += sum(o.forwards for o in outcomes)
            backwards += sum(o.backwards for o in outcomes)
        return {"accuracy": figures, "forwards": forwards, "backwards": backwards}
