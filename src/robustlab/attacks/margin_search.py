"""MarginSearch: gradient steps and patches in turn, on the images whose margin keeps shrinking.

Our own, based on published observations. A good search restarts from points that are far apart
(arXiv:2003.06878). On networks trained against Linf attacks, patches find successes that gradients miss
(arXiv:1912.00049). So each of the two continues from the other's best point. Near a local maximum of the
margin a better one is found by small changes and short steps (iterated local search, Lourenco, Martin &
Stuetzle 2003). Less budget should go to images that resist (arXiv:2203.05154).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks import initialization
from robustlab.attacks.apgd import ranked_class
from robustlab.attacks.best_so_far import masked_write
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.attacks.square import TRIES, best_window, repaint
from robustlab.attacks.square_bumps import span
from robustlab.core.spec import register

_BLOCK = 5
"""Steps with patches between two checks of which images are broken."""

_DOUBLED, _MOST_TOGETHER = 20, 4
"""After how many rounds twice as many of them run at once, and the most that do. Passes of few images are
mostly overhead."""

_MOST_AT_ONCE = 6
"""Windows of a round that are tried at once in late rounds, each for itself; the best one is kept."""

_SIDES = (3, 2, 4, 1, 5, 6)

_NEAR_SEARCHES = 2
"""Short searches near the best point in each round: once a window is drawn again, once single pixels."""

_REDRAWN = 0.1
"""The share of the pixels that are drawn again before a search near the best point."""

_NEAR_LENGTH = 0.25
"""The first step of such a search, as a fraction of eps; with longer steps it leaves the neighbourhood."""

_FAR_EVERY = 4
"""Every which round has a search from a point far away."""

_STALLED, _PATIENCE = 24, 4
"""An image is judged as in round 24 if four rounds together lowered its margin by less than 1 %."""

_CLASSES = 9
"""How many classes the images that are left after the first round are aimed at, in all."""

_RANKS = 3
"""How many classes, after the most likely wrong one, the searches from far away aim at in turn."""


@register("margin_search")
class MarginSearch(GradientAttack):
    """Alternates short PGD near the best point with Square-style patches while the margin keeps shrinking.

    The survey comes first: gradient searches from points that are far apart, towards any class and towards
    single ones. Then come rounds: searches near the best point, patches, and now and then a search from a
    point far away. The attack gives an image up if two conditions hold. The margin of its best point is more
    than ``keep`` of the clean image's margin. And the last round lowered it by less than a tenth. ``keep``
    shrinks by ``tighten`` in each round. If the last four rounds together lowered the margin by less than
    1 %, the ``keep`` of round 24 decides. The rule depends neither on other images nor on a factor on the
    logits. In ``max-loss`` mode no image is given up.

    The searches for the images that are left after the first round also aim at the nine likeliest wrong
    classes, one by one.

    Budget: ``survey * steps + aims * steps / 2`` gradients for each image, then up to ``rounds`` times
    ``steps * 5 / 4`` gradients and ``patches`` forward passes for those that are not given up, and for the
    other classes ``steps / 2`` gradients each.
    """

    norms = ("linf",)
    exact = True
    drawn_as = "focused"
    needs_gradient = False  # the patches need no gradient
    selection_loss = "margin"

    survey: Annotated[int, Field(ge=1)] = 2
    """Gradient searches for each image before any image is given up."""
    aims: Annotated[int, Field(ge=0)] = 2
    """Classes, after the most likely wrong one, at which the survey aims with half of the steps."""
    steps: Annotated[int, Field(ge=1)] = 20
    rounds: Annotated[int, Field(ge=0)] = 60
    patches: Annotated[int, Field(ge=0)] = 60
    """Windows that are changed in each round."""
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 0.28
    """The share of the clean margin above which an image may be given up."""
    tighten: Annotated[float, Field(gt=0.0, le=1.0)] = 0.91
    """The factor of ``keep`` in each round."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        # The last point of a search takes a pass, too.
        far, near = self.steps + 1, self._short + 1
        rounds = self.rounds * (_NEAR_SEARCHES * near + self.patches) + self.rounds // _FAR_EVERY * far
        aims = max(self.aims, _CLASSES) if self.rounds > 1 else self.aims
        return self.survey * far + aims * near + rounds

    @property
    def _short(self) -> int:
        return max(1, self.steps // 2)

    def search(self, session: Session) -> None:
        clean = session.clean_loss("margin")
        images, past = session.clean, clean[:, None].repeat(1, _PATIENCE)
        state = _State(images.clone(), clean, clean, past, images, images, clean)
        for turn in range(self.survey):
            state.points = _start(session, state, turn)
            state = _descend(session, state, _loss(turn), self.steps)
        state = self._survey_classes(session, state, range(1, self.aims + 1))
        for turns in _together(self.rounds):
            turn = turns.start
            # Not before the first patches: the gradients may be useless here.
            if session.early_stop and turn > 0:
                state = session.unfinished(state, done=self._given_up(state, turn))
            if session.finished:
                return
            state.past = torch.cat([state.past[:, 1:], state.margin[:, None]], dim=1)
            if turn == 1:
                state = self._survey_classes(session, state, range(self.aims + 1, _CLASSES + 1))
            for far in [turn for turn in turns if turn % _FAR_EVERY == _FAR_EVERY - 1]:
                state = self._far(session, state, far)
            state = _search_near(session, state, turns, self._short)
            state = _patch(session, state, turns, self.patches)

    def _given_up(self, state: "_State", turn: int) -> Tensor:
        # The margins are negative; broken images, with a margin of at least 0, are dropped anyway.
        stiff = state.margin < self.keep * self.tighten**turn * state.clean
        stalled = state.margin < self.keep * self.tighten ** max(turn, _STALLED) * state.clean
        slow, stands = state.margin < 0.9 * state.past[:, -1], state.margin < 0.99 * state.past[:, 0]
        return (stiff & slow) | (stalled & stands)

    def _survey_classes(self, session: Session, state: "_State", ranks: range) -> "_State":
        """Search towards the class of each rank, from a corner."""
        for rank in ranks:
            if session.finished:
                break
            state.points = initialization.corner(session, -rank)
            state = _aim(session, state, rank, self._short)
        return state

    def _far(self, session: Session, state: "_State", turn: int) -> "_State":
        """Search from a point far away: every second time towards a single class."""
        half, single = divmod(turn // _FAR_EVERY, 2)
        state.points = _start(session, state, self.survey + turn)
        if single:
            return _aim(session, state, 1 + half % _RANKS, self.steps)
        return _descend(session, state, _loss(half), self.steps)


def _together(rounds: int) -> Iterator[range]:
    """Yield the rounds that run at once: one at a time first, later several, since few images are left."""
    turn = 0
    while turn < rounds:
        count = min(2 ** (turn // _DOUBLED), _MOST_TOGETHER)
        yield range(turn, min(turn + count, rounds))
        turn += count


def _loss(turn: int) -> Loss:
    return "margin" if turn % 2 else "cross_entropy"


@dataclass
class _State:
    """The best point of each active image, its margin, the clean image's, and (n, 4) those of past rounds."""

    best: Tensor
    margin: Tensor
    clean: Tensor
    past: Tensor
    points: Tensor
    gradient: Tensor
    draws: Tensor
    toward: Tensor | None = None

    def keep(self, points: Tensor, margins: Tensor) -> None:
        better = margins > self.margin
        masked_write(self.best, torch.arange(len(better), device=better.device), points, better)
        self.margin = torch.where(better, margins, self.margin)


def _aim(session: Session, state: _State, rank: int, steps: int) -> _State:
    """Search towards the wrong class of this rank on the clean image."""
    toward = ranked_class(session, rank)
    if (toward < 0).all():
        return state  # there are fewer classes, or the attacker wants a single one
    state.toward = toward
    state = _descend(session, state, "margin", steps)
    state.toward = None
    return state


def _descend(session: Session, state: _State, loss: Loss, steps: int) -> _State:
    """Take gradient steps of decreasing length."""
    if session.finished:
        return state
    for step in range(steps):
        result = session.query(state.points, loss, toward=state.toward, gradient=True)
        state.gradient = result.ascent
        margins = session.measure("margin", state.points, result)
        state.keep(state.points, torch.where(result.valid, margins, -torch.inf))
        state = session.unfinished(state)
        if session.finished:
            return state
        state.points = session.ascend(state.points, state.gradient, _length(step, steps))
    state.keep(state.points, session.query(state.points, "margin").losses)
    return session.unfinished(state)


def _length(step: int, steps: int) -> float:
    """Return the length of a step, as a fraction of eps: 1 for the first one, near 0 for the last."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def _search_near(session: Session, state: _State, turns: range, steps: int) -> _State:
    """Take short gradient steps from several starts near the best point, at once if they fit into a pass."""
    if session.finished:
        return state
    numbers = range(_NEAR_SEARCHES * turns.start, _NEAR_SEARCHES * turns.stop)
    starts = torch.stack([_near(session, state, number) for number in numbers])
    for points in torch.split(starts, session.copies_at_once):
        copies = len(points)
        points = points.flatten(0, 1)
        with session.repeated(copies):
            for step in range(steps + 1):
                result = session.query(points, "margin", gradient=step < steps)
                margins = torch.where(result.valid, result.losses, -torch.inf)
                for one, margin in zip(points.chunk(copies), margins.chunk(copies), strict=True):
                    state.keep(one, margin)
                if step < steps:
                    points = session.ascend(points, result.ascent, _NEAR_LENGTH * _length(step, steps))
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


def _near(session: Session, state: _State, number: int) -> Tensor:
    """Return the best point with a tenth of its pixels drawn again: a square window, or single pixels."""
    shape = tuple(session.clean.shape[1:])
    if number % 2:
        redrawn = session.uniform("near", number, shape=shape) < _REDRAWN
    else:
        places = session.uniform("near", number, shape=(2,))
        side = max(1, round(math.sqrt(_REDRAWN * shape[1] * shape[2])))
        rows, columns = span(places[:, 0], side, shape[1]), span(places[:, 1], side, shape[2])
        redrawn = (rows[:, :, None] * columns[:, None, :])[:, None] > 0
    # Numbers from 0 on are those of `_start`.
    return torch.where(redrawn, initialization.corner(session, -1000 - number), state.best)


def _patch(session: Session, state: _State, turns: range, count: int) -> _State:
    """Change windows of the best point, and keep the changes that help."""
    shape = (count, TRIES, 2 + session.clean.shape[1])
    state.draws = torch.cat([session.uniform("patch", turn, shape=shape) for turn in turns], dim=1)
    at_once = min(1 + turns.start // 4, _MOST_AT_ONCE) * len(turns)
    for step, first in enumerate(range(0, count * len(turns), at_once)):
        if session.finished:
            break
        windows = state.draws[:, first : first + at_once]
        state.keep(*best_window(session, state.best, windows, _SIDES[step % len(_SIDES)], "margin", repaint))
        if step % _BLOCK == _BLOCK - 1 or first + at_once >= count * len(turns):
            state = session.unfinished(state)
    return state
