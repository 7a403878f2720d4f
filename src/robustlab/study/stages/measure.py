"""Measures a classifier's accuracy on perturbed test images, image by image into the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from robustlab.attacks import Attack, Mode
from robustlab.data import Split
from robustlab.evaluation import classify, proportion
from robustlab.runs.results import RowFlag
from robustlab.runs.store import Outcome
from robustlab.study.stages.base import StudyStage
from robustlab.study.stages.row_flags import LOOKED_AT, row_flags
from robustlab.study.workspace import Workspace
from robustlab.threats import ThreatModel


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A classifier on images perturbed in one way.

    Attributes:
        on: the classifier that is measured.
        attack: None measures on the clean images.
        threat: what the attacker may do.
        crafted_on: the classifier that the attacker sees.
        mode: see `Attack.run`.
    """

    on: str
    attack: Attack | None
    threat: ThreatModel
    crafted_on: str
    mode: Mode

    def identity(self) -> dict[str, Any]:
        """Return the resolved configuration."""
        attack = self.attack and [repr(self.attack), repr(self.threat), self.crafted_on, self.mode]
        return {"on": self.on, "perturbation": attack}

    def outcomes(self, workspace: Workspace, split: Split, key: str) -> list[Outcome]:
        """Return one outcome per image, measuring only those that the ledger does not have yet."""
        done = {outcome.image_id for outcome in workspace.store.outcomes(key)}
        with workspace.progress.track(
            f"{self.attack.name if self.attack else 'clean'} on {self.on}", len(split)
        ) as bar:
            for block in workspace.blocks(split):
                if not done.issuperset(block.ids.tolist()):
                    workspace.store.add_outcomes(key, self._measure(workspace, block))
                bar.advance(len(block))
        return workspace.store.outcomes(key)

    def _measure(self, workspace: Workspace, block: Split) -> list[Outcome]:
        if self.attack is None:
            predictions, confidences = classify(workspace.classifier(self.on), block.pixels(slice(None)))
            return _rows(block, predictions, confidences)
        result = workspace.perturb(block, self.attack, self.threat, self.crafted_on, self.mode)
        predictions, confidences = result.predictions, result.confidences
        if self.on != self.crafted_on:
            predictions, confidences = classify(workspace.classifier(self.on), result.images)
        counts = (result.distances, result.forwards, result.backwards, result.restarts)
        return _rows(block, predictions, confidences, *counts)


def _rows(block: Split, predictions: Tensor, confidences: Tensor, *counts: Tensor) -> list[Outcome]:
    columns = [t.tolist() for t in (block.ids, block.labels, predictions, confidences, *counts)]
    if not counts:
        n = len(block)
        columns += [[0.0] * n, [1] * n, [0] * n, [-1] * n]
    names = tuple(Outcome.__dataclass_fields__)
    return [Outcome(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, kw_only=True)
class MeasureStage(StudyStage):
    """One row of the table, on the whole test split."""

    measurement: Measurement
    seed: int

    def identity(self) -> dict[str, Any]:
        return {**self.measurement.identity(), "seed": self.seed}

    def run(self, workspace: Workspace) -> dict[str, Any]:
        outcomes = self.measurement.outcomes(workspace, workspace.dataset.test, self.key)
        confusion = [[0] * workspace.dataset.classes for _ in range(workspace.dataset.classes)]
        for outcome in outcomes:
            confusion[outcome.label][outcome.prediction] += 1
        n, flags = len(outcomes), self._flags(workspace, outcomes)
        return {
            "accuracy": proportion(sum(o.label == o.prediction for o in outcomes), n).model_dump(),
            "confidence": sum(o.confidence for o in outcomes) / n,
            "confusion": confusion,
            "distance": sum(o.distance for o in outcomes) / n,
            "max_distance": max(o.distance for o in outcomes),
            "forwards": sum(o.forwards for o in outcomes),
            "backwards": sum(o.backwards for o in outcomes),
            "flags": [flag.model_dump() for flag in flags],
        }

    def _flags(self, workspace: Workspace, outcomes: list[Outcome]) -> Iterator[RowFlag]:
        what, split = self.measurement, workspace.dataset.test
        if what.attack is None:
            return iter(())
        return row_flags(
            what.attack,
            what.threat,
            workspace.lab(what.crafted_on, what.threat),
            split.take(slice(LOOKED_AT)).to(workspace.compute.device),
            outcomes,
            workspace.right(what.on, split),
            white_box=what.on == what.crafted_on,
        )
