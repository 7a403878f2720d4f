"""A classifier by the nearest of several prototypes of each class (Voracek & Hein 2022, arXiv:2207.07208)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape


class PrototypeClassifier(nn.Module):
    """Answers with the class of the nearest prototype, in L2.

    A logit is half the squared norm of the image minus half the squared distance to the class's nearest
    prototype. The image's norm is the same for all classes, so each logit is the largest of several linear
    functions.

    Attributes:
        points: (K, P, C * H * W), the P prototypes of each of K classes, in pixel units.
    """

    def __init__(self, shape: Shape, per_class: int) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.rand(shape.classes, per_class, shape.pixels))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        logits: Tensor = self.scores(images).amax(dim=2)
        return logits

    def scores(self, images: Tensor) -> Tensor:
        """Return (N, K, P) the values of the linear functions."""
        # A score is a difference of large numbers, and 16-bit formats would round it away.
        with torch.autocast(images.device.type, enabled=False):
            points = self.points.flatten(0, 1)
            products = images.flatten(1).to(points.dtype) @ points.T
            scores: Tensor = products - points.square().sum(dim=1) / 2
        return scores.view(len(images), *self.points.shape[:2])


@register("prototypes")
class Prototypes(Model):
    """Prototypes of each class, which are images; the nearest one decides.

    Train it by `radius_training`, which starts from training images. The certifier `nearest_prototype`
    proves L2 distances.
    """

    per_class: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Prototypes of each class."""

    def build(self, shape: Shape) -> PrototypeClassifier:
        return PrototypeClassifier(shape, self.per_class)
