"""The constant data of an attack on one batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from robustlab.attacks.criteria import Criterion
from robustlab.attacks.gradients import Gradient
from robustlab.attacks.losses import Loss
from robustlab.attacks.progress_reporter import ProgressReporter
from robustlab.threats import ThreatModel

Quantize = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Turns points (n, C, H, W), given the clean images and each one's eps (n,), into images that can be
stored."""


@dataclass(frozen=True, kw_only=True)
class AttackBatch:
    """A batch to attack, with all settings that do not change. See `Attack.run`.

    Attributes:
        images: (N, C, H, W) the values that may change, in the shape of images; attacks know only these.
        threat: the threat model of these values.
        whole: the images of which these are a part, or all.
        whole_threat: the threat model of those.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: Tensor
    criterion: Criterion
    gradient: Gradient
    threat: ThreatModel
    eps: Tensor
    key: int
    early_stop: bool
    minimum_norm: bool
    selection_loss: Loss
    eot_samples: int
    surrogates: Sequence[nn.Module]
    bf16: bool
    quantize: Quantize | None
    whole: Tensor
    whole_threat: ThreatModel
    reporter: ProgressReporter | None = None

    def complete(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return the images (n, C, H, W) for the classifier, of points for the images at places (n,)."""
        if self.whole_threat is self.threat:
            return points
        return self.whole_threat.with_values(self.whole[rows], points)
