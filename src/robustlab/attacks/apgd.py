"""Auto-PGD: PGD that adapts its step length (Croce & Hein 2020, arXiv:2003.01690; L1: arXiv:2103.01208).

Budget: steps gradients per restart, or per target class.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.initialization import Start, begin
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import per_image

_MOMENTUM = 0.75
_FIRST_CHECK, _CHECK_SHRINKS, _LAST_CHECK = 0.22, 0.03, 0.06


@register("apgd")
class APGD(GradientAttack):
    """PGD with momentum. When progress stalls, it halves the step and continues from the best point."""

    norms = ("linf", "l2")

    steps: Annotated[int, Field(ge=1)] = 100
    loss: Loss = "cross_entropy"
    targets: Annotated[int, Field(ge=0)] = 0
    """How many of the most likely wrong classes are targets, one restart each; 0: untargeted."""
    restarts: Annotated[int, Field(ge=1)] = 1
    rho: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75
    """The share of steps that must increase the loss; with fewer, the step length is halved."""
    start: Start = "surface"
    gradient: Gradient = ExactGradient()

    @property
    def restart_count(self) -> int:
        return self.restarts * max(1, self.targets)

    @property
    def passes(self) -> int:
        return self.steps + 1

    def search(self, session: Session) -> None:
        toward = ranked_class(session, session.restart % self.targets) if self.targets else None
        if toward is not None and (toward < 0).all():
            return  # there are fewer classes than targets
        _ascend(session, begin(self.start, session), self, toward)


def ranked_class(session: Session, place: int) -> Tensor:
    """Return the wrong class (n,) of this rank on the clean image; -1 if there are fewer classes.

    If the attacker's goal is one class, it is the only one.
    """
    if session.targets is not None:
        return session.targets if place == 0 else torch.full_like(session.labels, -1)
    logits = session.clean_logits.scatter(1, session.labels[:, None], -torch.inf)
    if place >= logits.shape[1] - 1:
        return torch.full_like(session.labels, -1)
    return logits.argsort(dim=1, descending=True, stable=True)[:, place]


def checkpoints(steps: int) -> list[int]:
    """Return the iterations at which the step length is reconsidered; the intervals become shorter."""
    period, least = max(int(_FIRST_CHECK * steps), 1), max(int(_LAST_CHECK * steps), 1)
    shrink = max(int(_CHECK_SHRINKS * steps), 1)
    places, at = [], 0
    while at + period <= steps:
        at += period
        places.append(at)
        period = max(period - shrink, least)
    return places


@dataclass
class _State:
    """The values that APGD keeps for each active image; the step length is a fraction of eps."""

    points: Tensor
    gradient: Tensor
    losses: Tensor
    before: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    best_at_check: Tensor
    fraction: Tensor
    increases: Tensor
    halved: Tensor
    toward: Tensor | None


def _ascend(session: Session, points: Tensor, attack: APGD, toward: Tensor | None) -> None:
    result = session.query(points, attack.loss, toward=toward, gradient=True)
    losses, gradient = result.losses, result.ascent
    state = _State(
        points=points,
        gradient=gradient,
        losses=losses,
        before=points,
        best=points,
        best_gradient=gradient,
        best_loss=losses,
        best_at_check=losses,
        fraction=torch.full_like(losses, 2.0),
        increases=torch.zeros_like(losses),
        halved=torch.ones_like(losses, dtype=torch.bool),
        toward=toward,
    )
    checks, last_check = checkpoints(attack.steps), 0
    for step in range(1, attack.steps + 1):
        state = session.unfinished(state)
        if session.finished:
            return
        moved = session.ascend(state.points, state.gradient, state.fraction)
        # The first step has no previous step, so it has no momentum.
        weight = 1.0 if step == 1 else _MOMENTUM
        drift = weight * (moved - state.points) + (1 - weight) * (state.points - state.before)
        state.before, state.points = state.points, session.project(state.points + drift)
        more = step < attack.steps
        result = session.query(state.points, attack.loss, toward=state.toward, gradient=more)
        if more:
            _remember(state, result.losses, result.ascent)
            if step in checks:
                _reconsider(state, attack.rho * (step - last_check))
                last_check = step


def _remember(state: _State, losses: Tensor, gradient: Tensor) -> None:
    state.increases = state.increases + (losses > state.losses)
    better = losses > state.best_loss
    pixels = per_image(better, gradient)
    state.best = torch.where(pixels, state.points, state.best)
    state.best_gradient = torch.where(pixels, gradient, state.best_gradient)
    state.best_loss = torch.maximum(losses, state.best_loss)
    state.losses, state.gradient = losses, gradient


def _reconsider(state: _State, enough: float) -> None:
    """Halve the step and return to the best point if too few steps helped or nothing has changed."""
    stalled = state.increases <= enough
    stalled |= ~state.halved & (state.best_at_check >= state.best_loss)
    pixels = per_image(stalled, state.points)
    state.fraction = torch.where(stalled, state.fraction / 2, state.fraction)
    state.points = torch.where(pixels, state.best, state.points)
    state.gradient = torch.where(pixels, state.best_gradient, state.gradient)
    state.halved, state.best_at_check = stalled, state.best_loss
    state.increases = torch.zeros_like(state.increases)
