"""MarginSearch: gradient steps and patches in turn, on the images whose margin keeps shrinking.

Our own, based on published observations. A good search restarts from points that are far apart
(arXiv:2003.06878). On networks trained against Linf attacks, patches find successes that gradients miss
(arXiv:1912.00049). So each of the two continues from the other's best point. Less budget should go to images
that resist (arXiv:2203.05154). Budget: ``survey * steps`` gradients for each image, then up to ``rounds``
times ``steps`` gradients and ``patches`` forward passes for those that are not given up.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks import initialization
from robustlab.attacks.best_so_far import masked_write
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.attacks.square import TRIES, repaint
from robustlab.core.spec import register

_BLOCK = 10
"""Patches between two checks of which images are broken."""

_SIDES = (3, 2, 4, 1, 5, 6)


@register("margin_search")
class MarginSearch(GradientAttack):
    """Alternates PGD from vertex starts with Square-style patches while the margin keeps shrinking.

    The search gives an image up if two conditions hold. The margin of its best point is more than ``keep`` of
    the clean image's margin. And the last round lowered it by less than a tenth. ``keep`` shrinks by
    ``tighten`` in each round. The rule depends neither on other images nor on a factor on the logits. In
    ``max-loss`` mode no image is given up.
    """

    norms = ("linf",)
    exact = True
    drawn_as = "focused"
    needs_gradient = False  # the patches need no gradient
    selection_loss = "margin"

    survey: Annotated[int, Field(ge=1)] = 2
    """Gradient searches for each image before any image is given up."""
    steps: Annotated[int, Field(ge=1)] = 20
    rounds: Annotated[int, Field(ge=0)] = 60
    patches: Annotated[int, Field(ge=0)] = 60
    """Windows that are changed in each round."""
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """The share of the clean margin above which an image may be given up."""
    tighten: Annotated[float, Field(gt=0.0, le=1.0)] = 0.93
    """The factor of ``keep`` in each round."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return self.survey * self.steps + self.rounds * (self.steps + self.patches)

    def search(self, session: Session) -> None:
        clean = session.clean_loss("margin")
        state = _State(session.clean.clone(), clean, clean, clean, session.clean, session.clean, clean)
        for turn in range(self.survey):
            state = _descend(session, state, self._loss(turn), self.steps, turn)
            if session.finished:
                return
        for turn in range(self.rounds):
            # Not before the first patches: the gradients may be useless here.
            if session.early_stop and turn > 0:
                # Both margins are negative; broken images, with a margin of at least 0, are dropped anyway.
                stiff = state.margin < self.keep * self.tighten**turn * state.clean
                state = session.unfinished(state, done=stiff & (state.margin < 0.9 * state.before))
            if session.finished:
                return
            state.before = state.margin
            state = _descend(session, state, self._loss(turn), self.steps, self.survey + turn)
            state = _patch(session, state, self.patches, turn)

    def _loss(self, turn: int) -> Loss:
        return "margin" if turn % 2 else "cross_entropy"


@dataclass
class _State:
    """The best point of each active image, its margin, the clean image's, and that of the last round."""

    best: Tensor
    margin: Tensor
    clean: Tensor
    before: Tensor
    points: Tensor
    gradient: Tensor
    draws: Tensor

    def keep(self, points: Tensor, margins: Tensor) -> None:
        better = margins > self.margin
        masked_write(self.best, torch.arange(len(better), device=better.device), points, better)
        self.margin = torch.where(better, margins, self.margin)


def _descend(session: Session, state: _State, loss: Loss, steps: int, turn: int) -> _State:
    """Take gradient steps of decreasing length; the very first search begins at the clean image."""
    state.points = _start(session, state, turn)
    for step in range(steps):
        result = session.query(state.points, loss, gradient=True)
        state.gradient = result.ascent
        margins = session.measure("margin", state.points, result)
        state.keep(state.points, torch.where(result.valid, margins, -torch.inf))
        state = session.unfinished(state)
        if session.finished:
            return state
        length = 0.5 * (1 + math.cos(math.pi * step / steps))
        state.points = session.ascend(state.points, state.gradient, length)
    state.keep(state.points, session.query(state.points, "margin").losses)
    return session.unfinished(state)


def _start(session: Session, state: _State, turn: int) -> Tensor:
    """Return a corner, a pattern or, after these, the best point with a third of its pixels drawn again."""
    if turn == 0 and session.restart == 0:
        return session.clean
    if turn % 3 == 1:
        return initialization.corner(session, turn)
    if turn % 3 == 2:
        return initialization.pattern(session, turn // 3)
    shape = tuple(session.clean.shape[1:])
    redrawn = session.uniform("anew", turn, shape=shape) < 1 / 3
    return torch.where(redrawn, initialization.corner(session, turn), state.best)


def _patch(session: Session, state: _State, count: int, turn: int) -> _State:
    """Change one window of the best point at a time, and keep the changes that help."""
    channels = session.clean.shape[1]
    state.draws = session.uniform("patch", turn, shape=(count, TRIES, 2 + channels))
    for place in range(count):
        if session.finished:
            break
        side = _SIDES[place % len(_SIDES)]
        points = repaint(session, state.best, state.draws[:, place], side)
        state.keep(points, session.query(points, "margin").losses)
        if place % _BLOCK == _BLOCK - 1 or place == count - 1:
            state = session.unfinished(state)
    return state
