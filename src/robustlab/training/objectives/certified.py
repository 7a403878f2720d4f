"""What certified trainings share: a loss on bounds of the logits over a box around each image.

The bounds are those of the certifier `ibp`, or others, in float32 and with their gradient. They are computed
with the network in eval mode: dropout is off. Batch normalisation uses the statistics of the clean batch,
with their gradient, as Shi et al. 2021 (arXiv:2103.17268) do. A certifier uses the running statistics later.
`reestimate_batch_norm` estimates them on all training images, so that they fit the final weights.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.certify import Interval, margin_bounds
from robustlab.certify.rules.linear import products_in
from robustlab.data import Split
from robustlab.threats import ThreatModel
from robustlab.training.batch_norm import batch_norms, batch_statistics, in_eval_mode
from robustlab.training.objectives.base import Objective, cross_entropy
from robustlab.training.objectives.bound_shapes import Layers, imbalance, initialize, seen_by_relus
from robustlab.training.objectives.with_tensors import WithTensors
from robustlab.training.step import TrainingStep

Bounds = tuple[Tensor, Tensor]
"""The lower and upper bounds (N, C, H, W) of each image's pixels."""

Margins = Callable[[nn.Module, Tensor, Interval], Tensor]
"""From a network, labels (N,) and bounds of the pixels to lower bounds (N, K) of the margins."""


class CertifiedObjective(Objective):
    """``kappa`` times the clean cross-entropy, the rest on the worst logits that the bounds allow.

    Both eps and the weight of the bounds rise from 0 at ``warmup`` to their final values at ``ramp``. In
    validation they have their final values, so that epochs compare.
    """

    shorthands: ClassVar = {"eps": ("threat", "linf")}
    threat: ThreatModel
    kappa: float
    warmup: float
    ramp: float
    regularizer: float
    initialization: bool

    @property
    def full_from(self) -> float:
        return self.ramp if self.threat.eps else 0.0

    @final
    def initialize(self, network: nn.Module, train: Split) -> None:
        del train
        if self.initialization:
            initialize(network)

    @abstractmethod
    def box(self, step: TrainingStep, share: float) -> Bounds:
        """Return the box that the network is bounded on, given the share of eps that is reached."""

    def margins(self, network: nn.Module, labels: Tensor, pixels: Interval, share: float) -> Tensor:
        """Return the lower bounds of the margins, as `margin_bounds` does, given the share of eps."""
        del share
        return margin_bounds(network, labels, pixels)

    @final
    def loss(self, step: TrainingStep) -> Tensor:
        share = 1.0 if step.validating else self.share(step.progress)
        if share == 0 or self.threat.eps == 0:
            return cross_entropy(step)
        lower, upper = self.box(step, share)
        weight = (1 - self.kappa) * share
        clean = torch.zeros((), device=lower.device)
        with batch_statistics(step.network) as statistics:
            if weight < 1 or (batch_norms(step.network) and not step.validating):
                clean = cross_entropy(step)
        bound, layers = bound_loss(
            step, lower, upper, partial(self.margins, share=share), statistics=statistics
        )
        loss = weight * bound + (1 - weight) * clean
        if step.validating or self.regularizer == 0 or share == 1:
            return loss
        return loss + self.regularizer * (1 - share) * imbalance((lower, upper), layers)

    def share(self, progress: float) -> float:
        """Return the share of eps, and of the weight of the bounds, that is reached at a progress."""
        if progress < self.warmup:
            return 0.0
        return min(1.0, (progress - self.warmup) / max(self.ramp - self.warmup, 1e-12))


def require_box(threat: ThreatModel, warmup: float, ramp: float) -> None:
    """Refuse a threat model whose allowed images are not a box, and a ramp that ends too soon or never."""
    if not (threat.bounded and threat.separable) or threat.discrete:
        raise ValueError(f"threat must move each pixel by itself, as linf(eps=0.3) does, found {threat!r}")
    if ramp == 1:
        raise ValueError("ramp must be below 1: with 1 the training ends before eps has its full value")
    if ramp < warmup:
        raise ValueError(f"ramp must not end before warmup, found ramp={ramp}, warmup={warmup}")


def ball(threat: ThreatModel, centre: Tensor, share: float) -> Bounds:
    """Return the bounds of what is allowed around images with a share of eps, inside [0, 1]."""
    eps = torch.full((len(centre),), share * threat.eps, device=centre.device)
    return (
        threat.project(torch.zeros_like(centre), centre, eps),
        threat.project(torch.ones_like(centre), centre, eps),
    )


def bound_loss(
    step: TrainingStep,
    lower: Tensor,
    upper: Tensor,
    margins: Margins = margin_bounds,
    *,
    statistics: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Layers]:
    """Return the mean cross-entropy of the worst logits in a box, and the bounds at each ReLU.

    The loss is at least that of every image in the box, up to float32 rounding.

    Args:
        step: the network and the labels; the images play no part.
        lower: (N, C, H, W) the box's lower bounds.
        upper: (N, C, H, W) its upper bounds.
        margins: bounds the margins; with the arguments and the result of `margin_bounds`.
        statistics: of batch normalisation, as `batch_statistics` yields them; the rest are the running ones.
    """
    network, device = step.network, lower.device.type
    # Bounds refuse autocast, because they are proofs for float32. In training they prove nothing.
    products = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    bounded = WithTensors(network, statistics) if statistics else network
    with (
        in_eval_mode(network),
        torch.autocast(device, enabled=False),
        products_in(products),
        seen_by_relus(network) as layers,
    ):
        bounds = margins(bounded, step.labels, Interval(lower, upper))
    worst = -bounds.scatter(1, step.labels[:, None], 0.0)
    return F.cross_entropy(worst, step.labels), layers
