"""L2 proofs for a classifier by the nearest prototype (Voracek & Hein 2022, arXiv:2207.07208).

The logit of a class is the largest of linear functions, one for each prototype. So it is at least any mean of
the linear functions of its own prototypes, with weights that are not negative and have the sum 1. Such a mean
exceeds the linear function of a rival, a prototype of another class, by a gap. Within a distance eps the gap
shrinks by at most eps times the distance between the rival and the same mean of the own prototypes. If the
gap stays above 0 for each rival, no other class can win.

First the own prototypes are tried one by one. For rivals that are left, Frank & Wolfe's algorithm looks for
the best mean (doi:10.1002/nav.3800030109): the dual of the quadratic program for the nearest point at which
the rival wins. Last, such a mean is bounded on the points of the ball whose pixels lie in [0, 1].
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.certify.base import Certifier
from robustlab.certify.interval import NoRuleError
from robustlab.certify.region import reach
from robustlab.certify.rounding import gamma, underflow
from robustlab.core.spec import register
from robustlab.models import PrototypeClassifier
from robustlab.threats import ThreatModel

_AT_ONCE = 2**24
"""Pairs of an own prototype and a rival that are compared at once."""

_PAIRS = 2000
"""Pairs of an image and a rival for which a mean is looked for at once."""

_SPARE = 1e-6
"""More than what float64 loses in a distance of prototypes, or in a sum over the pixels."""


@register("nearest_prototype")
class NearestPrototype(Certifier):
    """Distances to the boundaries between prototypes, for the architecture `prototypes`."""

    norms = ("l2",)

    steps: Annotated[int, Field(ge=0, le=100_000)] = 50
    """Steps of the search for the best mean of own prototypes; 0 tries them one by one only."""

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
            margins = torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
            for label in torch.unique(labels).tolist():
                rows = (labels == label).nonzero().squeeze(1)
                others = torch.arange(len(points), device=images.device) != label
                search = _Search(points[label], points[others].flatten(0, 1), reach(threat), self.steps)
                for part in rows.split(max(1, _AT_ONCE // search.distance.numel())):
                    above = low[part, label] - noise[part, label]
                    below = (low[part] + noise[part])[:, others].flatten(1)
                    margins[part] = search.margins(images[part].flatten(1).double(), above, below)
        return margins


class _Search:
    """The gaps between one class and all others.

    Args:
        own: (P, D) float64, the prototypes of the class.
        rivals: (R, D), those of the other classes.
        eps: the distance that an attacker may move.
        steps: of the search for the best mean.
    """

    def __init__(self, own: Tensor, rivals: Tensor, eps: float, steps: int) -> None:
        self.own, self.rivals, self.eps, self.steps = own, rivals, eps, steps
        self.products, self.with_rivals = own @ own.T, rivals @ own.T
        self.squares = rivals.square().sum(dim=1)
        square = self.products.diagonal() - 2 * self.with_rivals + self.squares[:, None]
        self.distance = square.clamp(min=0).sqrt() + _SPARE
        """(R, P) of each rival from each own prototype."""

    def margins(self, images: Tensor, above: Tensor, below: Tensor) -> Tensor:
        """Return (N,) the smallest gap that is left, given the scores of own prototypes and of rivals.

        Args:
            images: (N, D).
            above: (N, P) lower bounds of the scores of own prototypes.
            below: (N, R) upper bounds of the rivals' scores.
        """
        gaps, best = (above[:, None] - self.eps * self.distance).max(dim=2)
        gaps = gaps - below
        # An image that is misclassified has a rival that nothing excludes.
        open_ones = (gaps <= 0) & (above.amax(dim=1)[:, None] > below).all(dim=1)[:, None]
        if self.steps > 0:
            # The worst rival first: where it can't be excluded, the others do not matter.
            worst = torch.zeros_like(open_ones).scatter_(1, gaps.argmin(dim=1)[:, None], value=True)
            for pairs in (open_ones & worst, open_ones & ~worst):
                image, rival = pairs.nonzero(as_tuple=True)
                useful = ~((gaps <= 0) & worst).any(dim=1)[image] | worst[image, rival]
                for few in useful.nonzero().squeeze(1).tensor_split(1 + len(image) // _PAIRS):
                    i, r = image[few], rival[few]
                    weights, best_gaps = self._best_mean(above[i], below[i, r], r, best[i, r])
                    left = best_gaps <= 0
                    i, r, weights = i[left], r[left], weights[left]
                    score = (weights * above[i]).sum(dim=1) - below[i, r]
                    best_gaps[left] = score - _largest_drop(
                        weights @ self.own - self.rivals[r], images[i], self.eps
                    )
                    gaps[image[few], rival[few]] = best_gaps
        return gaps.amin(dim=1)

    def _best_mean(self, above: Tensor, below: Tensor, rival: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (M, P) of the best means that were found, and the gaps (M,) in the whole ball.

        The M arguments are pairs of an image and a rival, with the own prototype from which to start.
        """
        each = torch.arange(len(rival), device=rival.device)
        weights = torch.zeros_like(above)
        weights[each, start] = 1
        # The products of the mean with the own prototypes, and its score.
        products, score = self.products[start], above[each, start]
        with_rival, square = self.with_rivals[rival], self.squares[rival]
        for _ in range(self.steps):
            half = (weights * (products - with_rival)).sum(dim=1)
            length = (half + square - (weights * with_rival).sum(dim=1)).clamp(min=1e-12)
            slope = above - self.eps * (products - with_rival) / length.sqrt()[:, None]
            toward = slope.argmax(dim=1)
            gap = score - self.eps * (length.sqrt() + _SPARE) - below
            gain = slope[each, toward] - (weights * slope).sum(dim=1)  # no mean has more
            if not ((gap <= 0) & (gain > _SPARE)).any():
                break
            rise = above[each, toward] - score
            turn = 2 * ((weights * self.products[toward]).sum(dim=1) - with_rival[each, toward] - half)
            bend = self.distance[rival, toward].square() - length - turn
            share = _best_share(rise / self.eps, length, turn, bend)
            score = score + share * rise
            weights = weights * (1 - share)[:, None]
            weights[each, toward] += share
            products = products + share[:, None] * (self.products[toward] - products)
        weights = weights / weights.sum(dim=1, keepdim=True)
        length = (weights * (weights @ self.products - 2 * with_rival)).sum(dim=1) + square
        gaps = (weights * above).sum(dim=1) - self.eps * (length.clamp(min=0).sqrt() + _SPARE) - below
        return weights, gaps


def _best_share(rise: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return (M,) where ``rise * t - sqrt(a + b t + c t^2)`` is largest, for t from 0 to 1."""
    c = c.clamp(min=1e-12)
    lowest = -b / (2 * c)
    least = (a - b.square() / (4 * c)).clamp(min=0)
    steepness = c - rise.square()
    beyond = rise * (least / (c * steepness.clamp(min=1e-12))).sqrt()
    best = torch.where(steepness > 0, lowest + beyond, (rise > 0).to(rise))
    return best.clamp(0, 1)


def _largest_drop(slope: Tensor, images: Tensor, eps: float) -> Tensor:
    """Return (M,) how far linear functions fall at most, in an L2 ball and for pixels in [0, 1].

    For each ``price`` above 0 of the squared distance, Lagrange's dual is an upper bound; the best price is
    looked for by bisection.

    Args:
        slope: (M, D) of each function.
        images: (M, D), the centres.
        eps: the radius.
    """

    def moved(rate: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(-rate[:, None] * slope, -images), 1 - images)

    low = eps / slope.square().sum(dim=1).sqrt().clamp(min=1e-12)
    high = 1e6 * low
    for _ in range(40):
        middle = (low * high).sqrt()
        short = moved(middle).square().sum(dim=1) < eps**2
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    move, price = moved(low), 1 / (2 * low)
    return -(slope * move).sum(dim=1) + price * (eps**2 - move.square().sum(dim=1)) + _SPARE


def _scores(points: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, K, P) the scores, and how far float32 may be off, at any image in [0, 1]."""
    flat, terms = images.flatten(1).double(), points.shape[2]
    half = points.square().sum(dim=2) / 2
    scores = (flat @ points.flatten(0, 1).T).view(len(images), *half.shape) - half
    # No pixel of an allowed image is above 1. The sum of squares, its half and the difference round, too.
    size = points.abs().sum(dim=2) + half
    noise = 2 * gamma(terms + 4, torch.float64) * size + underflow(2 * terms, torch.float64)
    return scores, noise.expand_as(scores)
