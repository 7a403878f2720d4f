"""A line of a curve: an evaluation at every point of the axis."""

from dataclasses import dataclass
from typing import Any

from robustlab.core.progress import Progress
from robustlab.evaluation.coordinator.evaluate import cascade_of
from robustlab.evaluation.jobs.context import program
from robustlab.study.stages.base import StudyStage
from robustlab.study.stages.evaluate import accuracy
from robustlab.study.workspace import Question, Workspace


@dataclass(frozen=True, kw_only=True)
class SeriesStage(StudyStage):
    """Evaluations of one classifier at every point of the axis, on the first ``images`` test images."""

    points: tuple[Question, ...]
    images: int
    seed: int

    @property
    def questions(self) -> tuple[Question, ...]:
        return self.points

    def identity(self) -> dict[str, Any]:
        points = [point.identity() for point in self.points]
        return {"points": points, "images": self.images, "program": program(), "seed": self.seed}

    def effort(self, workspace: Workspace) -> float:
        del workspace
        return self.images * sum(point.effort for point in self.points)

    def run(self, workspace: Workspace) -> dict[str, Any]:
        split, n = workspace.dataset.test, self.images
        figures, problems, passes = [], set(), {"forwards": 0, "backwards": 0}
        with workspace.progress.track(self.name, n * len(self.points)) as bar:
            for point in self.points:
                with (
                    workspace.asked(point, split, n=n) as asked,
                    workspace.store.temporarily(asked.context.key),
                ):
                    cascade = cascade_of(
                        asked.request, asked.options, asked.context, workspace.store, Progress()
                    )
                    findings = cascade.run()
                figures.append(accuracy(findings, point.mode).model_dump())
                problems |= {asked.context.key, asked.context.classifier_key}
                for finding in findings.attacks:
                    for row in finding.outcomes.values():
                        passes["forwards"] += row.forwards
                        passes["backwards"] += row.backwards
                bar.advance(n)
        return {"accuracy": figures, "problems": sorted(problems), **passes}
