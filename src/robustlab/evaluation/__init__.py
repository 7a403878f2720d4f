"""Evaluation: classifiers on perturbed images, image by image, and the figures that follow."""

from robustlab.evaluation.classify import classify
from robustlab.evaluation.metrics import auroc, proportion, threshold_at

__all__ = ["auroc", "classify", "proportion", "threshold_at"]
