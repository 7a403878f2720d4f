"""A deep classifier of small convolutions with batch normalisation, as certified training uses it.

CNN7 of Shi et al. 2021 (arXiv:2103.17268) is ``deep_cnn(channels=(64, 64, 128, 128, 128),
strides=(1, 1, 2, 1, 1), hidden=512)``, 13 M parameters for MNIST.
"""

from typing import Annotated

from pydantic import Field
from torch import nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape

_Channels = Annotated[int, Field(ge=1, le=4096)]
_Stride = Annotated[int, Field(ge=1, le=8)]
_Kernel = Annotated[int, Field(ge=1, le=31)]


@register("deep_cnn")
class DeepCNN(Model):
    """Convolutions and one hidden linear layer, each with batch normalisation and ReLU; linear classes.

    The default takes 4.5 M multiply-adds for an image of MNIST.
    """

    channels: tuple[_Channels, ...] = (16, 32, 32, 64)
    """The filters of each convolution."""
    strides: tuple[_Stride, ...] = (1, 2, 1, 2)
    """The stride of each convolution; a stride of 2 halves height and width."""
    kernels: tuple[_Kernel, ...] = ()
    """The height and width of each convolution's filters, odd; none: 3 for all."""
    hidden: Annotated[int, Field(ge=1)] = 256
    """The outputs of the hidden linear layer."""
    batch_norm: bool = True
    """Whether each layer but the last is followed by batch normalisation."""

    def __post_init__(self) -> None:
        for name, values in (("strides", self.strides), ("kernels", self.kernels or self.channels)):
            if len(values) != len(self.channels):
                raise ValueError(
                    f"{name} must be as many as channels, found {len(values)} and {len(self.channels)}"
                )
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd, found {self.kernels}")

    def build(self, shape: Shape) -> nn.Module:
        layers: list[nn.Module] = []
        before, height, width = shape.image
        kernels = self.kernels or (3,) * len(self.channels)
        for channels, stride, kernel in zip(self.channels, self.strides, kernels, strict=True):
            # Batch normalisation has a bias of its own.
            layers.append(
                nn.Conv2d(before, channels, kernel, stride, padding=kernel // 2, bias=not self.batch_norm)
            )
            layers += self._activation(nn.BatchNorm2d(channels))
            before, height, width = channels, -(-height // stride), -(-width // stride)
        layers += [nn.Flatten(), nn.Linear(before * height * width, self.hidden, bias=not self.batch_norm)]
        layers += [*self._activation(nn.BatchNorm1d(self.hidden)), nn.Linear(self.hidden, shape.classes)]
        return nn.Sequential(*layers)

    def _activation(self, norm: nn.Module) -> list[nn.Module]:
        return [norm, nn.ReLU()] if self.batch_norm else [nn.ReLU()]
