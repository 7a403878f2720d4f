"""One attack on one batch: measures points, keeps the best, counts passes, drops finished images."""

import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from robustlab.attacks import losses
from robustlab.attacks.losses import Loss
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.core.threat import ThreatModel, per_image

Mode = Literal["verdict", "max-loss"]

Objective = Loss | Callable[[Tensor], Tensor]
"""A loss by name, or a function of the logits (n, K) of the active images that returns (n,)."""

_SIZES = sorted({round(2 ** (k / 8)) for k in range(112)})
"""The batch sizes that are run: a convolution library prepares, and keeps, a kernel for each it meets."""

_TOLERANCE = 1e-6
"""Of distances, relative and absolute: what float32 rounds off in a projection."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the classifier says of the proposed points, one row per active image.

    Attributes:
        logits: (n, K); zeros where the classifier returned something that is not finite.
        losses: (n,) of the loss asked for.
        reached: (n,) whether the attacker's goal is reached there, whatever the distance.
        gradient: (n, C, H, W) of the losses, if it was asked for.
    """

    logits: Tensor
    losses: Tensor
    reached: Tensor
    gradient: Tensor | None = None

    @property
    def ascent(self) -> Tensor:
        """The gradient, where one was asked for."""
        if self.gradient is None:
            raise ValueError("this reading was taken without a gradient")
        return self.gradient


@dataclass(frozen=True, kw_only=True)
class Task:
    """A batch to attack, and how: everything about it that does not change. See `Attack.run`."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: Tensor
    targets: Tensor | None
    threat: ThreatModel
    eps: Tensor
    key: int
    mode: Mode
    minimal_norm: bool
    samples: int
    surrogates: Sequence[nn.Module]
    half: bool


class Session:
    """The view an attack has of its task.

    ``clean``, ``labels``, ``ids``, ``eps`` and ``targets`` hold the images that are still active, in the
    order of the points that the attack proposes. After a success in verdict mode an image's result is final,
    and `unfinished` or `prune` drops it, as they drop an image that the attack says it is done with; a few
    such images may stay for a while to fill up a batch, and what is proposed for them is ignored.

    Attributes:
        threat: the threat model; proposed points are projected onto it.
        restart: which restart runs; -1 before the first.
        best: the best point of every image of the batch so far, dropped ones included.
        forwards: (N,) forward passes per image of the batch, surrogates included.
        backwards: (N,) backward passes per image of the batch.
        found_by: (N,) the restart that found ``best``; -1 where that is the clean image.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.threat = task.threat
        self._classes = int(task.labels.max()) + 1
        self.restart = -1
        self.best = task.images.clone()
        self.forwards = torch.zeros_like(task.labels)
        self.backwards = torch.zeros_like(task.labels)
        self.found_by = torch.full_like(task.labels, -1)
        # Of an attack that looks for the nearest image, minus the distance takes the place of the loss.
        self._best_score = torch.full(task.labels.shape, -torch.inf, device=task.images.device)
        self._broken = torch.zeros_like(task.labels, dtype=torch.bool)
        self._retired = torch.zeros_like(self._broken)
        self._clean_logits: Tensor | None = None
        self._activate(self._everyone())

    @property
    def finished(self) -> bool:
        """Whether no active image is left."""
        return len(self._rows) == 0

    @property
    def verdict(self) -> bool:
        """Whether an image is done with at its first success."""
        return self._task.mode == "verdict"

    @property
    def clean_logits(self) -> Tensor:
        """(n, K) the classifier's logits on the clean images; one forward pass when first asked for."""
        if self._clean_logits is None:
            rows = self._rows
            self._activate(self._everyone())
            self._clean_logits = self.query(self.clean, propose=False).logits
            self._activate(rows)
        return self._clean_logits[self._rows]

    def start(self) -> None:
        """In verdict mode, set aside the images that are as the attacker wishes already.

        An attack that looks for the nearest success learns of them in max-loss mode too: their distance is 0.
        """
        if self.verdict or self._task.minimal_norm:
            reading = self.query(self.clean, propose=not self.verdict)
            self._clean_logits = reading.logits
            reached = reading.reached
            if self._task.half:
                reached = self._confirmed(self.clean, reached, reached)
            self._broken |= reached

    def begin(self, restart: int) -> None:
        """Start a restart on the images that are still to be broken."""
        self.restart = restart
        self._retired = torch.zeros_like(self._broken)
        self._activate(self._everyone())
        self.unfinished()

    # Random numbers: of the seed, the attack's name, the image's id, the restart and the purpose

    def uniform(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        """Return (n, *shape) uniform numbers in [0, 1) for the active images."""
        return seeding.uniform(self._draw(purpose), self.ids, shape)

    def normal(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        """Return (n, *shape) standard normal numbers for the active images."""
        return seeding.normal(self._draw(purpose), self.ids, shape)

    def random_start(self, eps: Tensor | None = None) -> Tensor:
        """Return a random allowed point for each active image, another one in each restart.

        Args:
            eps: (n,) radii in the place of the images' own.
        """
        radius = self.eps if eps is None else eps
        return self.threat.random_start(self.clean, self._draw(("start",)), self.ids, radius)

    def noise(self) -> Tensor:
        """Return standard normal noise of the images' shape, another one in each restart."""
        return self.normal("noise", shape=tuple(self.clean.shape[1:]))

    def _draw(self, purpose: tuple[object, ...]) -> int:
        first, *rest = purpose
        return seeding.derive(self._task.key, first, self.restart, *rest)

    # Geometry, with each image's own eps

    def project(self, points: Tensor) -> Tensor:
        """Return allowed points near the given ones."""
        return self.threat.project(points, self.clean, self.eps)

    def ascend(self, points: Tensor, gradient: Tensor, fraction: float | Tensor) -> Tensor:
        """Take the step of length ``fraction * eps`` that most increases the loss, and project."""
        return self.project(self.threat.ascend(points, gradient, fraction, self.eps))

    # The classifier

    def gradient(
        self,
        points: Tensor,
        loss: Objective = "cross_entropy",
        *,
        propose: bool = True,
    ) -> Tensor:
        """Return the gradient of the loss at allowed points; one forward and one backward pass."""
        return self.query(points, loss, gradient=True, propose=propose).ascent

    def propose(self, points: Tensor, loss: Loss = "cross_entropy") -> Reading:
        """Measure the points, projected onto the threat model, as results; one forward pass."""
        return self.query(self.project(points), loss)

    def query(
        self,
        points: Tensor,
        loss: Objective = "cross_entropy",
        *,
        toward: Tensor | None = None,
        gradient: bool = False,
        propose: bool = True,
    ) -> Reading:
        """Measure points; one forward pass, with the gradient one backward pass too.

        Args:
            points: (n, C, H, W), one per active image, in [0, 1]; allowed by the threat model unless the
                attack looks for the nearest image.
            loss: what to measure: a name, or a function of the logits (n, K) that returns (n,).
            toward: (n,) a class for the loss to move towards; default the image's target, if it has one.
            gradient: whether to return the gradient of the loss.
            propose: whether the points count as results.
        """
        toward = self.targets if toward is None else toward
        points = points.detach().requires_grad_(gradient)
        with torch.set_grad_enabled(gradient):
            logits, valid, values = self._sampled(
                points,
                lambda z: losses.measure(loss, z, self.labels, toward) if isinstance(loss, str) else loss(z),
            )
        ascent = None
        if gradient:
            ascent = _slope(values.sum(), points)
            ascent = ascent.nan_to_num(0.0, 0.0, 0.0)
            self.backwards[self._rows] += self._task.samples
        logits, values = logits.detach(), values.detach()
        if self.targets is not None:
            values = torch.where(valid, values, -torch.inf)  # no answer is not the target
        reached = self._reached(logits, valid)
        if propose:
            reached = self._record(points.detach(), values, reached)
        return Reading(logits=logits, losses=values, reached=reached, gradient=ascent)

    def query_many(self, points: Tensor, loss: Loss = "cross_entropy", *, propose: bool = True) -> Reading:
        """Measure k points per active image, without a gradient; k forward passes of each image.

        However few images are active, a pass is as large as the batch.

        Args:
            points: (k, n, C, H, W), otherwise as for `query`.
            loss: what to measure.
            propose: whether the points count as results.

        Returns:
            A reading whose tensors are (k, n, ...).
        """
        rows, readings = self._rows, []
        for part in torch.split(points, max(1, len(self._task.labels) // len(rows))):
            self._activate(rows.repeat(len(part)))
            reading = self.query(part.flatten(0, 1), loss, propose=False)
            readings.append((reading.logits, reading.losses, reading.reached))
        self._activate(rows)
        whole = (torch.cat(parts) for parts in zip(*readings, strict=True))
        logits, values, reached = (t.view(*points.shape[:2], *t.shape[1:]) for t in whole)
        if propose:
            # One by one, as if they had been measured so.
            reached = torch.stack([self._record(*row) for row in zip(points, values, reached, strict=True)])
        return Reading(logits=logits, losses=values, reached=reached)

    def jacobian(self, points: Tensor, classes: Tensor) -> tuple[Reading, Tensor]:
        """Measure points as `query` does, with the gradients (n, k, C, H, W) of the logits of (n, k) classes.

        One forward and k backward passes.
        """
        points = points.detach().requires_grad_()
        logits, valid, values = self._sampled(points, lambda z: losses.margin(z, self.labels, self.targets))
        picked = logits.gather(1, classes).sum(dim=0)
        last = len(picked) - 1
        rows = [_slope(v, points, again=k < last) for k, v in enumerate(picked)]
        self.backwards[self._rows] += len(rows) * self._task.samples
        logits, values = logits.detach(), values.detach()
        reached = self._record(points.detach(), values, self._reached(logits, valid))
        gradients = torch.stack(rows, dim=1).nan_to_num(0.0, 0.0, 0.0)
        return Reading(logits=logits, losses=values, reached=reached), gradients

    def surrogate_gradient(self, points: Tensor, loss: Loss = "cross_entropy") -> Tensor:
        """Return the gradient of the loss summed over the surrogates; one pass each way per surrogate.

        Raises:
            RobustlabError: there are no surrogates.
        """
        if not self._task.surrogates:
            raise RobustlabError("an attack that transfers needs surrogates: Attack.run(surrogates=[...])")
        points = points.detach().requires_grad_()
        values = [
            losses.measure(loss, model(points).float(), self.labels, self.targets)
            for model in self._task.surrogates
        ]
        ascent = _slope(torch.stack(values).sum(), points)
        self.forwards[self._rows] += len(values)
        self.backwards[self._rows] += len(values)
        return ascent.nan_to_num(0.0, 0.0, 0.0)

    # The active set

    def unfinished(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Drop the images that are broken and return the tensors' rows for those that remain."""
        keep = self._shrink(None)
        return tensors if keep is None else tuple(tensor[keep] for tensor in tensors)

    def prune(self, state: object, done: Tensor | None = None) -> None:
        """Drop the images that are broken, and their rows in every tensor among the attributes of ``state``.

        Args:
            state: what the attack remembers of each active image.
            done: (n,) images that the attack has no more use for in this restart, or `round`.
        """
        keep = self._shrink(done)
        if keep is not None:
            for name, value in vars(state).items():
                if isinstance(value, Tensor):
                    setattr(state, name, value[keep])

    @contextmanager
    def round(self) -> Iterator[None]:
        """Activate again, after the block, the images that were dropped inside it: a round of several."""
        rows, retired = self._rows, self._retired
        yield
        self._retired = retired
        self._activate(rows)

    def _shrink(self, done: Tensor | None) -> Tensor | None:
        """Activate the images that remain and return their places, or None if all do."""
        if done is not None:
            self._retired = self._retired.scatter(0, self._rows, self._retired[self._rows] | done)
        elif not self.verdict:
            return None
        closed = self.closed
        left = len(closed) - int(closed.sum())
        place = bisect.bisect_left(_SIZES, left)
        size = _SIZES[place] if left and place < len(_SIZES) else left
        if size >= len(closed):
            return None
        keep = closed.to(torch.uint8).argsort(stable=True)[:size].sort().values
        self._activate(self._rows[keep])
        return keep

    @property
    def closed(self) -> Tensor:
        """(n,) for which of the active images nothing more is recorded: they only fill up the batch."""
        retired = self._retired[self._rows]
        return retired | self._broken[self._rows] if self.verdict else retired

    @torch.no_grad()
    def verify(self) -> tuple[Tensor, Tensor]:
        """Return predictions and confidences of the best points, computed afresh in fp32 on the whole batch.

        The prediction is -1 where the classifier returned something that is not finite.
        """
        self._activate(self._everyone())
        logits, valid, _ = self._sampled(self.best, lambda z: z[:, 0], exact=True)
        confidences, predictions = logits.softmax(dim=1).max(dim=1)
        return torch.where(valid, predictions, -1), torch.where(valid, confidences, 0.0)

    def _everyone(self) -> Tensor:
        return torch.arange(len(self._task.labels), device=self._task.labels.device)

    def _activate(self, rows: Tensor) -> None:
        task = self._task
        self._rows = rows
        self.clean, self.labels, self.ids = task.images[rows], task.labels[rows], task.ids[rows]
        self.eps = task.eps[rows]
        self.targets = None if task.targets is None else task.targets[rows]

    def _measured(self, logits: Tensor, loss: Objective, toward: Tensor | None) -> Tensor:
        return loss(logits) if callable(loss) else losses.measure(loss, logits, self.labels, toward)

    def _sampled(
        self, points: Tensor, loss: Callable[[Tensor], Tensor], *, exact: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, whether they are finite, and losses; means over a random classifier's samples."""
        count = self._task.samples
        if count == 1:
            logits, valid = self._forward(points, exact=exact)
            return logits, valid, loss(logits)
        readings = [self._forward(points, exact=exact) for _ in range(count)]
        # The class of a random classifier is the one of the highest mean probability: one lucky draw is no
        # success. Its loss is the mean of the losses, whose gradient is the expected gradient.
        chances = torch.stack([logits.softmax(dim=1) for logits, _ in readings]).mean(dim=0)
        values = torch.stack([loss(logits) for logits, _ in readings]).mean(dim=0)
        valid = torch.stack([finite for _, finite in readings]).all(dim=0)
        return chances.clamp(min=torch.finfo(chances.dtype).tiny).log(), valid, values

    def _forward(self, points: Tensor, *, exact: bool = False) -> tuple[Tensor, Tensor]:
        half = self._task.half and not exact
        with torch.autocast(points.device.type, torch.bfloat16, enabled=half):
            logits: Tensor = self._task.model(points)
        # An image may be there several times.
        self.forwards.index_add_(0, self._rows, torch.ones_like(self._rows))
        if logits.ndim != 2 or len(logits) != len(points):
            raise RobustlabError(f"the model must return logits of shape (N, K), found {tuple(logits.shape)}")
        if logits.shape[1] < self._classes:
            raise RobustlabError(
                f"the model tells {logits.shape[1]} classes apart, but a label is {self._classes - 1}"
            )
        logits = logits.float()
        valid = torch.isfinite(logits).all(dim=1)
        return torch.where(valid[:, None], logits, 0.0), valid

    def _reached(self, logits: Tensor, valid: Tensor) -> Tensor:
        """Tell where the goal is reached; no answer at all counts as a misclassification."""
        predictions = logits.argmax(dim=1)
        if self.targets is not None:
            return valid & (predictions == self.targets)
        return ~valid | (predictions != self.labels)

    @torch.no_grad()
    def _record(self, points: Tensor, values: Tensor, reached: Tensor) -> Tensor:
        rows, minimal = self._rows, self._task.minimal_norm
        score, eligible = values, ~self.closed
        if minimal:
            distances = self.threat.distance(points, self.clean)
            score = -distances
            eligible &= distances <= self.eps * (1 + _TOLERANCE) + _TOLERANCE
        broken, higher = self._broken[rows], score > self._best_score[rows]
        if self._task.half:
            reached = self._confirmed(points, reached, reached & eligible & ~broken)
        success = reached & eligible
        # A success beats any loss; among equals the higher loss, or the nearer success, is kept.
        better = success & higher if minimal else torch.where(success == broken, higher, success) & eligible
        self.best[rows] = torch.where(per_image(better, points), points, self.best[rows])
        self._best_score[rows] = torch.where(better, score, self._best_score[rows])
        self.found_by[rows] = torch.where(better, self.restart, self.found_by[rows])
        self._broken[rows] |= success
        return reached

    def _confirmed(self, points: Tensor, reached: Tensor, asked: Tensor) -> Tensor:
        """Ask again in fp32 about the points that reached the goal in bf16, where it is asked for."""
        places = asked.nonzero().squeeze(1)
        if len(places) == 0:
            return reached
        rows = self._rows
        self._activate(rows[places])
        logits, valid, _ = self._sampled(points[places], lambda z: z[:, 0], exact=True)
        exact = self._reached(logits, valid)
        self._activate(rows)
        return reached.scatter(0, places, exact)


def _slope(total: Tensor, points: Tensor, *, again: bool = False) -> Tensor:
    """Return the gradient; zeros if the classifier cuts the path to its input, as a comparison does."""
    if not total.requires_grad:
        return torch.zeros_like(points)
    (slope,) = torch.autograd.grad(total, points, retain_graph=again, allow_unused=True)
    return torch.zeros_like(points) if slope is None else slope
