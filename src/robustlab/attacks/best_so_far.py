"""The best point of every image of a batch, and which images are broken."""

import torch
from torch import Tensor

from robustlab.attacks.batch import AttackBatch
from robustlab.threats import per_image


def masked_write(images: Tensor, rows: Tensor, points: Tensor, where: Tensor) -> None:
    """Write points (n, C, H, W) into rows (n,) of images (N, C, H, W) where (n,) is True, in place."""
    if images.device.type == "cpu":
        # In a random search few points improve, and copying all images would take a large part of a pass's
        # time.
        where = where.nonzero().squeeze(1)
        images[rows[where]] = points[where]
    else:  # which would wait for the device to count them
        images[rows] = torch.where(per_image(where, points), points, images[rows])


class BestSoFar:
    """The best points that an attack has found so far, one row per image of the batch.

    Attributes:
        best: (N, C, H, W) the best point; at the start the clean image.
        broken: (N,) whether the goal is reached.
        found_by: (N,) the restart that found ``best``; -1 if it is the clean image.
    """

    def __init__(self, batch: AttackBatch) -> None:
        self._minimum_norm = batch.minimum_norm
        self.best = batch.images.clone()
        self.broken = torch.zeros_like(batch.labels, dtype=torch.bool)
        self.found_by = torch.full_like(batch.labels, -1)
        # For an attack that looks for the nearest success, the score is minus the distance instead of the
        # loss.
        self._score = torch.full(batch.labels.shape, -torch.inf, device=batch.images.device)
        # Later and higher successes are not confirmed one by one if each confirmation costs a pass.
        unsure = batch.bf16 and not batch.early_stop and batch.quantize is None
        self._confirmed = (self.best.clone(), self.found_by.clone()) if unsure else None

    def keep(
        self, rows: Tensor, points: Tensor, scores: Tensor, success: Tensor, counts: Tensor, restart: int
    ) -> None:
        """Keep the points that are better than the stored ones.

        Args:
            rows: (n,) the images' places in the batch, each at most once.
            points: (n, C, H, W).
            scores: (n,) the higher one is better, among successes and among failures.
            success: (n,) whether the goal is reached; the first success of an image is a confirmed one.
            counts: (n,) whether the point may be kept.
            restart: the number of the current restart.
        """
        broken, higher = self.broken[rows], scores > self._score[rows]
        # A success is better than any failure. Among equals, the higher loss or the nearer success is better.
        better = success & higher if self._minimum_norm else torch.where(success == broken, higher, success)
        better = better & counts
        masked_write(self.best, rows, points, better)
        self._score[rows] = torch.where(better, scores, self._score[rows])
        self.found_by[rows] = torch.where(better, restart, self.found_by[rows])
        if self._confirmed is not None:
            images, restarts = self._confirmed
            first = success & counts & ~broken
            masked_write(images, rows, points, first)
            restarts[rows] = torch.where(first, restart, restarts[rows])
        self.broken[rows] |= success & counts

    def fall_back(self, rows: Tensor) -> bool:
        """Return to the confirmed success of images (n,) whose best point turned out not to be a success.

        Returns:
            Whether confirmed successes are stored.
        """
        if self._confirmed is None:
            return False
        images, restarts = self._confirmed
        self.best[rows], self.found_by[rows] = images[rows], restarts[rows]
        return True
