"""The base of adversarial objectives: the search for the worst image near each training image.

The search does not use `Attack.run`, since a training does not need its best points, counts, checks and last
pass. With these a search of 10 steps took 14 to 39 % longer (LOG.md, "Objectives that attack the network in
training").
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.attacks import FGSM, PGD, Attack, frozen
from robustlab.attacks.gradients import ExactGradient
from robustlab.attacks.losses import measure
from robustlab.core import seeding
from robustlab.threats import ThreatModel
from robustlab.training.objectives.base import Objective, cross_entropy
from robustlab.training.step import TrainingStep

START_STD = 1e-3
"""Of a Gaussian start, in pixel units: at the clean image itself a divergence has no slope."""


class AdversarialObjective(Objective):
    """A loss on adversarial images, which are searched on the network at each step.

    Its validation loss is the cross-entropy on the clean images: it costs no attack, and can be compared with
    other objectives'. To choose the epoch by robustness, use robust validation (`TrainConfig`).
    """

    shorthands: ClassVar = {"eps": ("threat", "linf")}

    @final
    def loss(self, step: TrainingStep) -> Tensor:
        return cross_entropy(step) if step.validating else self.loss_at(step, self.perturbed(step))

    @abstractmethod
    def perturbed(self, step: TrainingStep) -> Tensor:
        """Return the images (N, C, H, W) that the step trains on; the network is as it was before."""

    def loss_at(self, step: TrainingStep, points: Tensor) -> Tensor:
        """Return the mean training loss (a scalar), given the images that `perturbed` returned.

        It is the cross-entropy, unless an objective has another one.
        """
        return cross_entropy(step, points)

    def with_share_of_eps(self, share: float) -> "AdversarialObjective":
        """Return the same objective with a share of its eps, from 0 to 1."""
        threat: ThreatModel = vars(self)["threat"]
        return type(self)(**vars(self) | {"threat": threat.at(share * threat.eps)})


def require_bounded(threat: ThreatModel) -> None:
    """Refuse a threat model that bounds no distance."""
    if not threat.bounded:
        raise ValueError(f"threat must bound a distance, such as linf(eps=0.3), found {threat!r}")


class AroundObjective(AdversarialObjective):
    """An objective that is put around another one, but not around one of its own kind."""

    objective: Objective

    def __post_init__(self) -> None:
        kind = next(part for part in type(self).__mro__ if AroundObjective in part.__bases__)
        as_adversarial(self.objective, kind)

    @property
    def inner(self) -> AdversarialObjective:
        """The other objective."""
        return as_adversarial(self.objective)

    def perturbed(self, step: TrainingStep) -> Tensor:
        return self.inner.perturbed(step)

    def with_share_of_eps(self, share: float) -> AdversarialObjective:
        return replace(self, objective=self.inner.with_share_of_eps(share))  # type: ignore[type-var]


def as_adversarial(objective: Objective, around: type[Objective] | tuple[()] = ()) -> AdversarialObjective:
    """Return an objective that another one is put around.

    Raises:
        ValueError: it does not attack the network, or it is of the kind ``around``.
    """
    if not isinstance(objective, AdversarialObjective) or isinstance(objective, around):
        raise ValueError(
            "objective must be one that attacks the network, such as trades(threat=linf(eps=0.3)), found "
            f"{objective!r}"
        )
    return objective


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
    step: TrainingStep,
    threat: ThreatModel,
    start: Tensor,
    loss: Callable[[Tensor], Tensor] | None = None,
    *,
    steps: int,
    rel_step_size: float,
) -> Tensor:
    """Return the allowed points near the images after steps of steepest ascent, each of them projected.

    Args:
        step: the network, the images and the labels.
        threat: the threat model.
        start: (N, C, H, W) where the first step begins; it may lie outside the ball.
        loss: of logits (N, K), in fp32; a scalar, the sum over the images. None: the cross-entropy.
        steps: the number of steps.
        rel_step_size: the length of a step as a fraction of eps.
    """
    loss = loss or (lambda logits: F.cross_entropy(logits, step.labels, reduction="sum"))
    points = start
    for _ in range(steps):
        points = points.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(step.network(points).float()), points)
        points = threat.project(threat.ascend(points.detach(), gradient, rel_step_size), step.images)
    return points


def as_search(attack: Attack, threat: ThreatModel) -> PGD:
    """Return the PGD that finds a step's images as an attack says.

    Raises:
        ValueError: it is another attack than `fgsm`, or `pgd` without restarts from a random start or the
            clean image; it has a gradient estimator; or it does not support the threat model.
    """
    search = attack
    if isinstance(attack, FGSM):
        search = PGD(
            steps=1,
            rel_step_size=attack.rel_step_size or (1.25 if attack.random_start else 1.0),
            start="random" if attack.random_start else "clean",
            gradient=attack.gradient,
        )
    if not isinstance(search, PGD) or search.restarts != 1 or search.start not in ("random", "clean"):
        raise ValueError(
            "attack must be fgsm, or a pgd with restarts=1, start=random or clean; such as "
            "pgd(steps=10, rel_step_size=0.25)"
        )
    if search.gradient != ExactGradient():
        raise ValueError(f"attack must follow the exact gradient, found {search.gradient!r}")
    if not search.supports(threat):
        raise ValueError(f"{attack.name} supports {search.supported_norms}, not {threat!r}")
    return search


def attacked(step: TrainingStep, threat: ThreatModel, search: PGD) -> Tensor:
    """Return the last points (N, C, H, W) of a search against the network in train mode."""
    start = step.images
    if search.start == "random":
        start = threat.random_start(start, seeding.derive(step.key, "start"), step.ids)
    with searching(step, train_mode=True):
        return climb(
            step,
            threat,
            start,
            lambda logits: measure(search.loss, logits, step.labels).sum(),
            steps=search.steps,
            rel_step_size=search.rel_step_size,
        )


def near(step: TrainingStep, std: float) -> Tensor:
    """Return the images moved by Gaussian noise of a standard deviation in pixel units; not clipped."""
    noise = seeding.normal(seeding.derive(step.key, "start"), step.ids, tuple(step.images.shape[1:]))
    return step.images + std * noise
