"""The study's convolutional classifier (two convolutions, three linear layers)."""

from collections import OrderedDict
from typing import Annotated

from pydantic import Field
from torch import nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Normalize, Shape


@register("cnn")
class CNN(Model):
    """Convolutions of 32 and 64 3x3 filters, each with ReLU and max-pool 2; linear 128, 64, classes."""

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2

    def build(self, shape: Shape) -> nn.Module:
        flat = 64 * (shape.height // 4) * (shape.width // 4)
        # Pooling before the ReLU gives the same values (both are monotone) for a quarter of the work.
        return nn.Sequential(
            OrderedDict(
                normalize=Normalize(),
                conv1=nn.Conv2d(shape.channels, 32, kernel_size=3, padding=1),
                pool1=nn.MaxPool2d(2),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(32, 64, kernel_size=3, padding=1),
                pool2=nn.MaxPool2d(2),
                relu2=nn.ReLU(),
                flatten=nn.Flatten(),
                fc1=nn.Linear(flat, 128),
                relu3=nn.ReLU(),
                dropout=nn.Dropout(self.dropout),
                fc2=nn.Linear(128, 64),
                relu4=nn.ReLU(),
                fc3=nn.Linear(64, shape.classes),
            )
        )
