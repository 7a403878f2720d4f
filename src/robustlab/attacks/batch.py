"""What an attack is set to do on one batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from robustlab.attacks.criteria import Criterion
from robustlab.attacks.gradients import Gradient
from robustlab.attacks.losses import Loss
from robustlab.attacks.watch import Watch
from robustlab.core.options import Mode
from robustlab.threats import ThreatModel

Realise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Turns points (n, C, H, W), given the clean images and each one's eps (n,), into images that can exist."""


@dataclass(frozen=True, kw_only=True)
class AttackBatch:
    """A batch to attack, and how: everything about it that does not change. See `Attack.run`."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: Tensor
    criterion: Criterion
    gradient: Gradient
    threat: ThreatModel
    eps: Tensor
    key: int
    mode: Mode
    minimal_norm: bool
    yardstick: Loss
    samples: int
    surrogates: Sequence[nn.Module]
    half: bool
    realise: Realise | None
    watch: Watch | None = None
