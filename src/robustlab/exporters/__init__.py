"""Exporters: they give a finished run to another program."""

from robustlab.exporters.base import Exporter, FinishedRun, TextExporter
from robustlab.exporters.exporting import as_exporter, export
from robustlab.exporters.hf_card import HFCard
from robustlab.exporters.junit import JUnit
from robustlab.exporters.mlflow import MLflow
from robustlab.exporters.summary import RunSummary, summary_of
from robustlab.exporters.tensorboard import TensorBoard
from robustlab.exporters.wandb import WandB

__all__ = [
    "Exporter",
    "FinishedRun",
    "HFCard",
    "JUnit",
    "MLflow",
    "RunSummary",
    "TensorBoard",
    "TextExporter",
    "WandB",
    "as_exporter",
    "export",
    "summary_of",
]
