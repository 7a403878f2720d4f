"""The kinds of work a study consists of, one file each."""

from robustlab.study.stages.base import StudyStage
from robustlab.study.stages.curve import CurveStage
from robustlab.study.stages.detect import DetectStage
from robustlab.study.stages.gallery import GalleryStage
from robustlab.study.stages.measure import Measurement, MeasureStage
from robustlab.study.stages.samples import SamplesStage
from robustlab.study.stages.train import TrainStage

__all__ = [
    "CurveStage",
    "DetectStage",
    "GalleryStage",
    "MeasureStage",
    "Measurement",
    "SamplesStage",
    "StudyStage",
    "TrainStage",
]
