"""One attack on one batch: measures points, keeps the best, counts passes, drops finished images."""

import bisect
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.core.threat import ThreatModel, per_image

Mode = Literal["verdict", "max-loss"]

_SIZES = sorted({round(2 ** (k / 3)) for k in range(40)})
"""The batch sizes that are run: a convolution library prepares, and keeps, a kernel for each it meets."""


class Session:
    """The view an attack has of its task.

    ``clean``, ``labels`` and ``ids`` hold the images that are still active, in the order of the points
    that the attack proposes. After a success in verdict mode an image's result is final, and `unfinished`
    drops it; a few such images may stay for a while to fill up a batch.

    Attributes:
        threat: the threat model; proposed points are projected onto it.
        best: the best point of every image of the batch so far, dropped ones included.
        forwards: (N,) forward passes per image of the batch.
        backwards: (N,) backward passes per image of the batch.
        found_by: (N,) the restart that found ``best``; -1 where that is the clean image.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        ids: Tensor,
        threat: ThreatModel,
        *,
        key: int,
        mode: Mode,
    ) -> None:
        self._model, self._mode, self._key = model, mode, key
        self.threat = threat
        self.all_clean, self._all_labels, self._all_ids = images, labels, ids
        self._classes = int(labels.max()) + 1
        self.best = images.clone()
        self.forwards = torch.zeros_like(labels)
        self.backwards = torch.zeros_like(labels)
        self.found_by = torch.full_like(labels, -1)
        self._best_loss = torch.full(labels.shape, -torch.inf, device=images.device)
        self._broken = torch.zeros_like(labels, dtype=torch.bool)
        self._restart = 0
        self._activate(torch.arange(len(labels), device=labels.device))

    @property
    def finished(self) -> bool:
        """Whether no active image is left."""
        return len(self._rows) == 0

    def start(self) -> None:
        """In verdict mode, set aside the images that are misclassified as they are."""
        if self._mode == "verdict":
            with torch.no_grad():
                logits = self._forward(self.clean)
            self._broken[self._rows] = logits.argmax(dim=1) != self.labels

    def begin(self, restart: int) -> None:
        """Start a restart on the images that are still to be broken."""
        self._restart = restart
        self._activate(torch.arange(len(self._all_labels), device=self._all_labels.device))
        self.unfinished()

    def random_start(self) -> Tensor:
        """Return a random allowed point for each active image, another one in each restart."""
        key = seeding.derive(self._key, "start", self._restart)
        return self.threat.random_start(self.clean, key, self.ids)

    def noise(self) -> Tensor:
        """Return standard normal noise of the images' shape, another one in each restart."""
        key = seeding.derive(self._key, "noise", self._restart)
        return seeding.normal(key, self.ids, tuple(self.clean.shape[1:]))

    def gradient(self, points: Tensor, *, propose: bool = True) -> Tensor:
        """Return the gradient of the cross-entropy at the points; one forward and one backward pass.

        Args:
            points: one per active image, allowed by the threat model.
            propose: whether the points count as results too, measured by the same forward pass.
        """
        points = points.detach().requires_grad_()
        logits = self._forward(points)
        losses = F.cross_entropy(logits, self.labels, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), points)
        self.backwards[self._rows] += 1
        if propose:
            self._record(points.detach(), logits.detach(), losses.detach())
        return gradient

    @torch.no_grad()
    def propose(self, points: Tensor) -> None:
        """Measure the points, projected onto the threat model, as results; one forward pass."""
        points = self.threat.project(points, self.clean)
        logits = self._forward(points)
        self._record(points, logits, F.cross_entropy(logits, self.labels, reduction="none"))

    def unfinished(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Drop the images that are broken and return the tensors' rows for those that remain."""
        if self._mode == "max-loss":
            return tensors
        broken = self._broken[self._rows]
        left = len(broken) - int(broken.sum())
        place = bisect.bisect_left(_SIZES, left)
        size = _SIZES[place] if left and place < len(_SIZES) else left
        if size >= len(broken):
            return tensors
        keep = broken.to(torch.uint8).argsort(stable=True)[:size].sort().values
        self._activate(self._rows[keep])
        return tuple(tensor[keep] for tensor in tensors)

    @torch.no_grad()
    def verify(self) -> tuple[Tensor, Tensor]:
        """Return predictions and confidences of the best points, computed afresh on the whole batch."""
        self._activate(torch.arange(len(self._all_labels), device=self._all_labels.device))
        confidences, predictions = self._forward(self.best).softmax(dim=1).max(dim=1)
        return predictions, confidences

    def _forward(self, points: Tensor) -> Tensor:
        logits: Tensor = self._model(points)
        self.forwards[self._rows] += 1
        if logits.ndim != 2 or len(logits) != len(points):
            raise RobustlabError(f"the model must return logits of shape (N, K), found {tuple(logits.shape)}")
        if logits.shape[1] < self._classes:
            raise RobustlabError(
                f"the model tells {logits.shape[1]} classes apart, but a label is {self._classes - 1}"
            )
        if not torch.isfinite(logits).all():
            bad = self.ids[~torch.isfinite(logits).all(dim=1)].tolist()
            raise RobustlabError(
                f"the model returned logits that are not finite for the images with ids {bad[:10]}"
            )
        return logits.float()

    def _record(self, points: Tensor, logits: Tensor, losses: Tensor) -> None:
        wrong = logits.argmax(dim=1) != self.labels
        rows = self._rows
        # A success beats any loss; among equals the higher loss is kept.
        better = torch.where(wrong == self._broken[rows], losses > self._best_loss[rows], wrong)
        if self._mode == "verdict":
            better &= ~self._broken[rows]
        self.best[rows] = torch.where(per_image(better, points), points, self.best[rows])
        self._best_loss[rows] = torch.where(better, losses, self._best_loss[rows])
        self.found_by[rows] = torch.where(better, self._restart, self.found_by[rows])
        self._broken[rows] |= wrong

    def _activate(self, rows: Tensor) -> None:
        self._rows = rows
        self.clean, self.labels, self.ids = self.all_clean[rows], self._all_labels[rows], self._all_ids[rows]
