"""L2 radii of a classifier by the nearest prototype (Voracek & Hein 2022, arXiv:2207.07208).

The logit of a class is the largest of linear functions, one for each prototype. Take a prototype of another
class, and one of the image's own class. Their linear functions differ by a gap at the image. Within a
distance eps the gap shrinks by at most eps times the distance of the two prototypes. If for each prototype of
another class there is one of the own class whose gap stays above 0, no other class can win. Only a quadratic
program for each prototype would prove more.
"""

from typing import cast

import torch
from torch import Tensor, nn

from robustlab.certify.base import Certifier
from robustlab.certify.interval import NoRuleError
from robustlab.certify.region import region
from robustlab.certify.rounding import gamma, underflow
from robustlab.core.spec import register
from robustlab.models import PrototypeClassifier
from robustlab.threats import ThreatModel

_AT_ONCE = 2**24
"""Pairs of prototypes, one own and one of another class, that are compared at once."""


@register("nearest_prototype")
class NearestPrototype(Certifier):
    """Distances to the boundaries between prototypes, for the architecture `prototypes`."""

    norms = ("l2",)

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        return self.margins(model, images, labels, threat) > 0

    def passes(self, certified: Tensor) -> Tensor:
        return torch.ones_like(certified, dtype=torch.int64)

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        """Return (N,) float64 lower bounds on how far the label's logit stays above all others.

        They hold for the logits as computed in float32.

        Raises:
            NoRuleError: the model is of another kind.
        """
        if type(model) is not PrototypeClassifier:
            raise NoRuleError("nearest_prototype proves something about the architecture prototypes alone")
        with torch.no_grad():
            points = model.points.detach().double()
            low, noise = _scores(points, images)
            eps = cast("float", region(images[:1], threat, torch.float64).ball.eps)  # type: ignore[union-attr]
            margins = torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
            for label in torch.unique(labels).tolist():
                rows = (labels == label).nonzero().squeeze(1)
                others = torch.arange(len(points), device=images.device) != label
                rival, own = points[others].flatten(0, 1), points[label]
                # Of this product, the last digits are lost: 1e-6 is far above that, and far below a distance.
                distance = torch.cdist(own, rival, compute_mode="use_mm_for_euclid_dist") + 1e-6
                for part in rows.split(max(1, _AT_ONCE // distance.numel())):
                    above = (low[part, label] - noise[part, label])[:, :, None]
                    below = (low[part] + noise[part])[:, others].flatten(1)[:, None]
                    gaps = above - below - eps * distance
                    margins[part] = gaps.amax(dim=1).amin(dim=1)
        return margins


def _scores(points: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, K, P) the scores, and how far float32 may be off, at any image in [0, 1]."""
    flat, terms = images.flatten(1).double(), points.shape[2]
    half = points.square().sum(dim=2) / 2
    scores = (flat @ points.flatten(0, 1).T).view(len(images), *half.shape) - half
    # No pixel of an allowed image is above 1. The sum of squares, its half and the difference round, too.
    size = points.abs().sum(dim=2) + half
    noise = 2 * gamma(terms + 4, torch.float64) * size + underflow(2 * terms, torch.float64)
    return scores, noise.expand_as(scores)
