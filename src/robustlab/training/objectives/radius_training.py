"""Larger distances to the decision boundary of prototypes (Voracek & Hein 2022, arXiv:2207.07208)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.errors import SetupError
from robustlab.core.spec import register
from robustlab.data import Split
from robustlab.models import PrototypeClassifier
from robustlab.threats import L2, ThreatModel
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("radius_training")
class RadiusTraining(Objective):
    """The mean of what each image's radius lacks to a target; for the architecture `prototypes`.

    The radius is the L2 distance within which the image stays nearer to its own class's nearest prototype
    than to any prototype of another class; below 0 for a misclassified image.
    """

    target: Annotated[float, Field(gt=0.0)] = 2.5
    """The radius, in pixel units, beyond which an image adds nothing to the loss."""
    most: Annotated[float, Field(gt=0.0)] = 2.0
    """An image lacks at most so many targets, so that a few outliers do not decide."""

    @property
    def threats(self) -> tuple[ThreatModel, ...]:
        """The ball in which the network should be robust."""
        return (L2(eps=self.target),)

    def initialize(self, network: nn.Module, train: Split) -> None:
        """Make the first training images of each class its prototypes; again from the first if too few."""
        points = _prototypes(network).points
        for label, of_class in enumerate(points):
            rows = (train.labels == label).nonzero().squeeze(1)[: len(of_class)]
            if len(rows) == 0:
                raise SetupError(f"prototypes need training images of every class, found none of {label}")
            chosen = train.pixels(rows)
            with torch.no_grad():
                of_class.copy_(chosen.flatten(1)[torch.arange(len(of_class)) % len(chosen)])

    def loss(self, step: TrainingStep) -> Tensor:
        lacking = F.relu(self.target - radii(_prototypes(step.network), step.images, step.labels))
        return lacking.clamp(max=self.most * self.target).mean()


def radii(network: PrototypeClassifier, images: Tensor, labels: Tensor) -> Tensor:
    """Return (N,) the distances to the boundaries between the nearest own prototype and all other classes'.

    Args:
        network: the prototypes.
        images: (N, C, H, W) on the pixel scale.
        labels: (N,) the true classes.
    """
    with torch.no_grad():
        own, other = _nearest_boundary(network, images, labels)
    # Only this pair of prototypes has a gradient. So the search among all of them needs no way back.
    points = network.points.flatten(0, 1)
    own_points, other_points = points[own], points[other]
    apart = own_points - other_points
    doubled = 2 * images.flatten(1).to(points.dtype) - own_points - other_points
    length = apart.square().sum(dim=1).clamp(min=1e-6).sqrt()
    distances: Tensor = (apart * doubled).sum(dim=1) / (2 * length)
    return distances


def _nearest_boundary(network: PrototypeClassifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N,) each image's nearest own prototype, and the other class's one with the nearest boundary."""
    scores, points = network.scores(images), network.points
    per_class, each = points.shape[1], torch.arange(len(images), device=images.device)
    value, nearest = scores[each, labels].max(dim=1)
    own = points[labels, nearest]
    with torch.autocast(images.device.type, enabled=False):
        products = (own @ points.flatten(0, 1).T).view_as(scores)
    halves = points.square().sum(dim=2) / 2
    squares = (halves[labels, nearest][:, None, None] + halves - products).clamp_(min=1e-6)
    distances = (value[:, None, None] - scores) / squares.sqrt_()
    distances[each, labels] = torch.inf
    return labels * per_class + nearest, distances.flatten(1).argmin(dim=1)


def _prototypes(network: nn.Module) -> PrototypeClassifier:
    if not isinstance(network, PrototypeClassifier):
        raise SetupError(
            "the objective radius_training trains the architecture prototypes, "
            f"found {type(network).__name__}"
        )
    return network
