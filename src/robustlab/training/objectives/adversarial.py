"""The base of adversarial objectives: the search for the worst image near each training image.

The search does not use `Attack.run`, since a training does not need its best points, counts, checks and last
pass. With these a search of 10 steps took 14 to 39 % longer (LOG.md, "Objectives that attack the network in
training").
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn

from robustlab.attacks import frozen
from robustlab.core import seeding
from robustlab.threats import ThreatModel
from robustlab.training.objectives.base import Objective, cross_entropy
from robustlab.training.step import TrainingStep


class AdversarialObjective(Objective):
    """A loss on adversarial images, which are searched on the network at each step.

    Its validation loss is the cross-entropy on the clean images: it costs no attack, and can be compared with
    other objectives'. To choose the epoch by robustness, use robust validation (`TrainConfig`).
    """

    @final
    def loss(self, step: TrainingStep) -> Tensor:
        return cross_entropy(step) if step.validating else self.adversarial_loss(step)

    @abstractmethod
    def adversarial_loss(self, step: TrainingStep) -> Tensor:
        """Return the mean training loss (a scalar)."""


def require_bounded(threat: ThreatModel) -> None:
    """Refuse a threat model that bounds no distance."""
    if not threat.bounded:
        raise ValueError(f"threat must bound a distance, such as linf(eps=0.3), found {threat!r}")


@contextmanager
def searching(step: TrainingStep, *, train_mode: bool) -> Iterator[None]:
    """Restore the network after a search; inside the block its parameters are frozen.

    The search changes neither the running statistics of batch normalisation nor the random numbers of the
    step, such as those of dropout. Search before the step's own forward passes: buffers are written back in
    place, which autograd refuses between a forward pass and its backward pass.

    Args:
        step: the step of the network.
        train_mode: whether the network stays in train mode; otherwise it is in eval mode inside the block.
    """
    network = step.network
    before, training = [buffer.clone() for buffer in network.buffers()], network.training
    with frozen(network), seeding.isolated(seeding.derive(step.key, "search")):
        network.train(training and train_mode)
        try:
            yield
        finally:
            network.train(training)
            with torch.no_grad():
                for buffer, value in zip(network.buffers(), before, strict=True):
                    buffer.copy_(value)


def climb(
    network: nn.Module,
    threat: ThreatModel,
    clean: Tensor,
    start: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    steps: int,
    rel_step_size: float,
) -> Tensor:
    """Return the allowed points after steps of steepest ascent, each of them projected.

    Args:
        network: images to logits.
        threat: the threat model.
        clean: (N, C, H, W) in [0, 1].
        start: (N, C, H, W) where the first step begins; it may lie outside the ball.
        loss: of logits (N, K), in fp32; a scalar, the sum over the images.
        steps: the number of steps.
        rel_step_size: the length of a step as a fraction of eps.
    """
    points = start
    for _ in range(steps):
        points = points.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(network(points).float()), points)
        points = threat.project(threat.ascend(points.detach(), gradient, rel_step_size), clean)
    return points
