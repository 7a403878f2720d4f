"""A small classifier of strided convolutions: the MNIST network of Wong, Rice & Kolter, arXiv:2001.03994."""

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape


@register("strided_cnn")
class StridedCNN(Model):
    """Convolutions of 16 and 32 4x4 filters with stride 2, each with ReLU; linear ``hidden``, classes."""

    hidden: Annotated[int, Field(ge=1)] = 100

    def build(self, shape: Shape) -> nn.Module:
        flat = 32 * (shape.height // 4) * (shape.width // 4)
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(shape.channels, 16, kernel_size=4, stride=2, padding=1),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(16, 32, kernel_size=4, stride=2, padding=1),
                relu2=nn.ReLU(),
                flatten=nn.Flatten(),
                fc1=nn.Linear(flat, self.hidden),
                relu3=nn.ReLU(),
                fc2=nn.Linear(self.hidden, shape.classes),
            )
        )
