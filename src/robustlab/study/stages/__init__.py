"""The kinds of work a study consists of, one file each."""

from robustlab.study.stages.base import StudyStage
from robustlab.study.stages.detect import DetectStage
from robustlab.study.stages.evaluate import EvaluateStage
from robustlab.study.stages.gallery import GalleryStage
from robustlab.study.stages.network import NetworkStage
from robustlab.study.stages.samples import SamplesStage
from robustlab.study.stages.series import SeriesStage
from robustlab.study.stages.shipped import ShippedStage, shipped
from robustlab.study.stages.train import TrainStage

__all__ = [
    "DetectStage",
    "EvaluateStage",
    "GalleryStage",
    "NetworkStage",
    "SamplesStage",
    "SeriesStage",
    "ShippedStage",
    "StudyStage",
    "TrainStage",
    "shipped",
]
