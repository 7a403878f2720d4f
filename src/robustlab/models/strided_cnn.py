"""A small classifier of strided convolutions: the MNIST network of Wong, Rice & Kolter, arXiv:2001.03994."""

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape


@register("strided_cnn")
class StridedCNN(Model):
    """Convolutions of ``width`` and twice as many 4x4 filters with stride 2, then ``middle`` 3x3 ones.

    Each has a ReLU; linear ``hidden``, ReLU, linear classes.
    """

    width: Annotated[int, Field(ge=1)] = 16
    """Filters of the first convolution; the others have twice as many."""
    middle: Annotated[int, Field(ge=0)] = 0
    """Further convolutions, of 3x3 filters with stride 1."""
    hidden: Annotated[int, Field(ge=1)] = 100

    def build(self, shape: Shape) -> nn.Module:
        inner = 2 * self.width
        flat = inner * (shape.height // 4) * (shape.width // 4)
        middle = [
            (f"middle{number}", nn.Sequential(nn.Conv2d(inner, inner, kernel_size=3, padding=1), nn.ReLU()))
            for number in range(1, self.middle + 1)
        ]
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(shape.channels, self.width, kernel_size=4, stride=2, padding=1),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(self.width, inner, kernel_size=4, stride=2, padding=1),
                relu2=nn.ReLU(),
                **dict(middle),
                flatten=nn.Flatten(),
                fc1=nn.Linear(flat, self.hidden),
                relu3=nn.ReLU(),
                fc2=nn.Linear(self.hidden, shape.classes),
            )
        )
