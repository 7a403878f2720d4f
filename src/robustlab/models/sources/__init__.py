"""Where networks come from: one file per source."""

from robustlab.models.sources.base import Loaded, Note, Source
from robustlab.models.sources.code import FromCode
from robustlab.models.sources.export import FromExport
from robustlab.models.sources.hf import FromTransformers
from robustlab.models.sources.http import FromServer
from robustlab.models.sources.keras import FromKeras
from robustlab.models.sources.onnx import FromOnnx
from robustlab.models.sources.predict import FromPrediction
from robustlab.models.sources.robustbench import FromRobustBench
from robustlab.models.sources.run import FromRun
from robustlab.models.sources.saved import FromFile
from robustlab.models.sources.timm import FromTimm
from robustlab.models.sources.torchscript import FromTorchScript
from robustlab.models.sources.torchvision import FromTorchvision
from robustlab.models.sources.zoo import FromZoo

__all__ = [
    "FromCode",
    "FromExport",
    "FromFile",
    "FromKeras",
    "FromOnnx",
    "FromPrediction",
    "FromRobustBench",
    "FromRun",
    "FromServer",
    "FromTimm",
    "FromTorchScript",
    "FromTorchvision",
    "FromTransformers",
    "FromZoo",
    "Loaded",
    "Note",
    "Source",
]
