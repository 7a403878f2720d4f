"""CROWN: linear bounds from the logits back to the pixels (Zhang et al. 2018, arXiv:1811.00866; `backward`).

The lines below and above an activation depend on bounds of its arguments. Intervals give the first bounds.
Where they do not decide on which side of its bend an activation is, a way back from that argument gives
tighter ones (Xu et al. 2020, arXiv:2002.12920). The difference of two logits is bounded as one linear
function.

An image takes one way back, of a part of the network, for each such argument and for each other class. At
most `tightening.MEMORY` bytes of coefficients are kept at once.

The last layers of most classifiers are small, and their bounds matter most. So these are tightened first,
and only images that are not proven then pay for the large layers.
"""

import math

import torch
from torch import Tensor, nn

from robustlab.certify.crown_ibp import CROWNIBP
from robustlab.certify.margins import Bounds, LinearCertifier, in_groups, linear_logits, margins_of
from robustlab.certify.tightening import Tightener, WorkCounter
from robustlab.core.spec import register
from robustlab.threats import ThreatModel

_SMALL = 512
"""Values that a small layer has at most, for an image."""


@register("crown")
class CROWN(LinearCertifier):
    """Linear bounds, the bounds of every layer by linear bounds too: tight and slow."""

    at_once = 4

    def bounds(
        self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, *, every: bool = False
    ) -> Bounds:
        bounds = with_small_layers(model, images, labels, threat)
        rows = (~bounds.proven | every).nonzero()[:, 0]
        if len(rows):
            bounds.improve(rows, _tightened(model, images[rows], labels[rows], threat, math.inf))
        return bounds


def with_small_layers(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Bounds:
    """Return the bounds of CROWN-IBP, and with small layers tightened of the images that need it.

    If all layers are small, nothing is tightened: the next step would be the same.
    """
    bounds = CROWNIBP().bounds(model, images, labels, threat)
    rows = (~bounds.proven).nonzero()[:, 0]
    if len(rows):
        sizes = work_of(model, images[:1], threat).sizes
        if sizes and min(sizes) <= _SMALL < max(sizes):
            bounds.improve(rows, _tightened(model, images[rows], labels[rows], threat, _SMALL))
    return bounds


def work_of(model: nn.Module, image: Tensor, threat: ThreatModel) -> WorkCounter:
    """Return what tightening all layers would take, for an image (1, C, H, W)."""
    counter = WorkCounter()
    with torch.no_grad():
        linear_logits(model, image, threat, counter.tighten)
    return counter


def _tightened(
    model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, largest: float
) -> Bounds:
    def bounded(images: Tensor, labels: Tensor) -> Bounds:
        tightener = Tightener(len(images), largest)
        margins = margins_of(linear_logits(model, images, threat, tightener.tighten), labels)
        return Bounds(margins, torch.full_like(tightener.rows, 2), tightener.rows + margins.shape[1] - 1)

    return in_groups(bounded, images, labels)
