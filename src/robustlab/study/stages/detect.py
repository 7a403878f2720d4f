"""Measures how well a detector separates the perturbed test images of an evaluation from clean ones."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_curve
from torch import Tensor

from robustlab.core.batches import in_batches
from robustlab.data import Split
from robustlab.detectors import Detector
from robustlab.evaluation.identity import identity_of
from robustlab.evaluation.jobs.context import program, source_of
from robustlab.evaluation.metrics import proportion
from robustlab.evaluation.scores import auroc, threshold_at
from robustlab.study.stages.base import StudyStage
from robustlab.study.sweep import Choice
from robustlab.study.workspace import BATCH, Question, Workspace

FALSE_POSITIVE_RATE = 0.05

_BINS = 40
_ROC_POINTS = 201

Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DetectStage(StudyStage):
    """A detector on an evaluation's images; its threshold comes from clean validation images.

    Attributes:
        choice: the values that the detector and the evaluation depend on.
    """

    detector: Detector
    choice: Choice
    question: Question
    seed: int

    @property
    def questions(self) -> tuple[Question, ...]:
        return (self.question,)

    def identity(self) -> dict[str, Any]:
        perturbation = {**self.question.identity(), "program": program()}
        detector = [identity_of(self.detector), source_of("detectors")]
        return {"detector": detector, "perturbation": perturbation, "seed": self.seed}

    def effort(self, workspace: Workspace) -> float:
        return 2.0 * len(self.question.limited(workspace.dataset.test))

    def run(self, workspace: Workspace) -> dict[str, Any]:
        data = workspace.dataset
        test = self.question.limited(data.test)
        total = len(data.validation) + 2 * len(test)
        with workspace.progress.track(self.name, total) as bar:
            validation = self._scores(workspace, data.validation)
            bar.advance(len(data.validation))
            clean = self._scores(workspace, test)
            bar.advance(len(test))
            images = workspace.perturbed(self.question, test)
            perturbed = self._scores(workspace, replace(test, images=images))
            bar.advance(len(test))
        natural = self.detector.natural_threshold
        low, high = np.quantile(np.concatenate([clean, perturbed]), [0.005, 0.995])
        edges = np.linspace(low, max(high, low + 1e-6), _BINS + 1)
        return {
            "auroc": auroc(perturbed, clean).model_dump(),
            "natural": None if natural is None else _operating(natural, perturbed, clean),
            "calibrated": _operating(threshold_at(FALSE_POSITIVE_RATE, validation), perturbed, clean),
            "roc": _roc(perturbed, clean),
            "edges": edges.tolist(),
            # Scores outside the shown range are counted in the outermost bars.
            "clean_histogram": np.histogram(np.clip(clean, edges[0], edges[-1]), edges)[0].tolist(),
            "perturbed_histogram": np.histogram(np.clip(perturbed, edges[0], edges[-1]), edges)[0].tolist(),
        }

    def _scores(self, workspace: Workspace, split: Split) -> Scores:
        networks = {name: workspace.models.network(name) for name in self.detector.networks}

        def score(rows: Tensor) -> Tensor:
            images = split.pixels(rows).to(workspace.compute.device)
            return self.detector.score(networks, images).detach().cpu()

        return torch.cat(in_batches(torch.arange(len(split)), BATCH, score)).numpy().astype(np.float64)


def _operating(threshold: float, perturbed: Scores, clean: Scores) -> dict[str, Any]:
    return {
        "threshold": threshold,
        "detection_rate": proportion(int((perturbed > threshold).sum()), len(perturbed)).model_dump(),
        "false_positive_rate": proportion(int((clean > threshold).sum()), len(clean)).model_dump(),
    }


def _roc(perturbed: Scores, clean: Scores) -> list[tuple[float, float]]:
    labels = np.concatenate([np.ones(len(perturbed)), np.zeros(len(clean))])
    false_positives, detections, _ = roc_curve(labels, np.concatenate([perturbed, clean]))
    grid = np.linspace(0, 1, _ROC_POINTS)
    # Of several points with the same false-positive rate, the one with the highest detection rate counts: the
    # last one.
    last = np.searchsorted(false_positives, grid, side="right") - 1
    return [(float(x), float(y)) for x, y in zip(grid, detections[last], strict=True)]
