"""The active images of a batch: their random numbers, their geometry, and which ones are dropped."""

import bisect
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, overload

import torch
from torch import Tensor

from robustlab.attacks.batch import AttackBatch
from robustlab.attacks.best_so_far import BestSoFar
from robustlab.core import seeding

_SIZES = sorted({round(2 ** (k / 8)) for k in range(112)})
"""The batch sizes that are used: a convolution library prepares, and keeps, a kernel for each size."""

Kept = TypeVar("Kept")


class ActiveSet:
    """The images that are still to be attacked.

    ``clean``, ``labels``, ``ids``, ``eps`` and ``targets`` (the classes that the criterion wants, if it
    wants certain ones) hold the images that are still active, in the order of the points that the attack
    proposes. After a success in verdict mode an image's result is final, and `unfinished` drops it. It also
    drops an image that the attack names as done. A few such images may stay for a while to fill up a batch;
    points proposed for them are ignored.

    Attributes:
        threat: the threat model; proposed points are projected onto it.
        restart: which restart runs; -1 before the first.
        rows: (n,) the places of the active images in the batch.
        best_so_far: the best point of every image of the batch so far, dropped ones included.
    """

    def __init__(self, batch: AttackBatch, targets: Tensor | None = None) -> None:
        self._batch, self._targets = batch, targets
        self._impossible = batch.criterion.impossible(batch.labels, targets)
        self.threat = batch.threat
        self.restart = -1
        self._images: Tensor | None = None
        self._copies = 1
        self.best_so_far = BestSoFar(batch)
        self._retire()

    @property
    def finished(self) -> bool:
        """Whether all images are finished."""
        return len(self.rows) == 0

    @property
    def early_stop(self) -> bool:
        """Whether an image is finished at its first success."""
        return self._batch.early_stop

    def begin(self, restart: int) -> None:
        """Start a restart on the images that are not broken yet."""
        self.restart = restart
        self._retire()
        self.unfinished()

    def _retire(self) -> None:
        """Activate every image that can reach the goal."""
        self._retired = torch.zeros_like(self.best_so_far.broken)
        self._activate(self.everyone)
        if self._impossible is not None:
            self.unfinished(done=self._impossible)

    @property
    def clean(self) -> Tensor:
        """(n, C, H, W) the active images before the attack; copied on the first call after a change."""
        if self._images is None:
            self._images = self._batch.images[self.rows]
        return self._images

    # Random numbers depend on the seed, the attack's name, the image's id, the restart and the purpose.

    def uniform(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        """Return (n, *shape) uniform numbers in [0, 1) for the active images."""
        return seeding.uniform(self._draw(purpose), self.ids, shape)

    def normal(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        """Return (n, *shape) standard normal numbers for the active images."""
        return seeding.normal(self._draw(purpose), self.ids, shape)

    def random_start(self, eps: Tensor | None = None) -> Tensor:
        """Return a random allowed point for each active image, a different one in each restart.

        Args:
            eps: (n,) radii to use instead of the images' own.
        """
        radius = self.eps if eps is None else eps
        return self.threat.random_start(self.clean, self._draw(("start",)), self.ids, radius)

    def noise(self) -> Tensor:
        """Return standard normal noise (n, C, H, W), different in each restart."""
        return self.normal("noise", shape=tuple(self.clean.shape[1:]))

    def _draw(self, purpose: tuple[object, ...]) -> int:
        first, *rest = purpose
        return seeding.derive(self._batch.key, first, self.restart, *rest)

    # Geometry, with each image's own eps

    def project(self, points: Tensor) -> Tensor:
        """Return the allowed points near the given points (n, C, H, W)."""
        return self.threat.project(points, self.clean, self.eps)

    def ascend(self, points: Tensor, gradient: Tensor, fraction: float | Tensor) -> Tensor:
        """Take the step of length ``fraction * eps`` that most increases the loss, and project."""
        return self.project(self.threat.ascend(points, gradient, fraction, self.eps))

    # Which images are dropped

    @overload
    def unfinished(self, kept: Kept, /, *, done: Tensor | None = None) -> Kept: ...
    @overload
    def unfinished(self, *kept: Tensor, done: Tensor | None = None) -> tuple[Tensor, ...]: ...
    def unfinished(self, *kept: Any, done: Tensor | None = None) -> Any:
        """Drop the images that are finished, and return the values of those that remain.

        Finished are images that are broken (with early stop) and images that the attack names as done.

        Args:
            kept: the attack's values for the active images: tensors (n, ...), or objects with such tensors as
                attributes.
            done: (n,) images that the attack leaves out until the restart, or the enclosing `round`, ends.

        Returns:
            One value for one argument, a tuple for several; each with the rows of the images that are active
            now.
        """
        places = self._shrink(done)
        if places is not None:
            kept = tuple(_rows(one, places) for one in kept)
        return kept[0] if len(kept) == 1 else kept

    @contextmanager
    def round(self) -> Iterator[None]:
        """Activate again, after the block, the images that were dropped inside it: one round of several."""
        rows, retired = self.rows, self._retired
        yield
        self._retired = retired
        self._activate(rows)

    @contextmanager
    def repeated(self, copies: int) -> Iterator[None]:
        """Activate each image several times inside the block: all images once, then all again.

        No image may be dropped inside it.
        """
        rows, before = self.rows, self._copies
        if copies > 1:
            self._activate(rows.repeat(copies))
            self._copies = before * copies
        yield
        if copies > 1:
            self._activate(rows)
            self._copies = before

    @property
    def copies_at_once(self) -> int:
        """How many points per active image fit into a pass of the batch's size."""
        return max(1, len(self._batch.labels) // len(self.rows))

    def _shrink(self, done: Tensor | None) -> Tensor | None:
        """Activate the images that remain and return their places, or None if all remain."""
        if done is not None:
            self._retired = self._retired.scatter(0, self.rows, self._retired[self.rows] | done)
        elif not self.early_stop:
            return None
        closed = self.closed
        left = len(closed) - int(closed.sum())
        place = bisect.bisect_left(_SIZES, left)
        size = _SIZES[place] if left and place < len(_SIZES) else left
        if size >= len(closed):
            return None
        keep = closed.to(torch.uint8).argsort(stable=True)[:size].sort().values
        self._activate(self.rows[keep])
        return keep

    @property
    def closed(self) -> Tensor:
        """(n,) for which active images nothing more is recorded; they only fill up the batch."""
        retired = self._retired[self.rows]
        return retired | self.best_so_far.broken[self.rows] if self.early_stop else retired

    @property
    def everyone(self) -> Tensor:
        """(N,) the places of all images of the batch."""
        return torch.arange(len(self._batch.labels), device=self._batch.labels.device)

    def _activate(self, rows: Tensor) -> None:
        batch = self._batch
        self.rows = rows
        self._images = None
        self.labels, self.ids, self.eps = batch.labels[rows], batch.ids[rows], batch.eps[rows]
        self.targets = None if self._targets is None else self._targets[rows]


def _rows(kept: Any, places: Tensor) -> Any:
    """Return the rows of a tensor, or of every tensor among an object's attributes."""
    if isinstance(kept, Tensor):
        return kept[places]
    fewer = copy.copy(kept)
    for name, value in vars(kept).items():
        if isinstance(value, Tensor):
            setattr(fewer, name, value[places])
    return fewer
