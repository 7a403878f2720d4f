"""The best point of every image of a batch, and which images are broken."""

import torch
from torch import Tensor

from robustlab.attacks.batch import AttackBatch
from robustlab.threats import per_image


def masked_write(images: Tensor, rows: Tensor, points: Tensor, where: Tensor) -> None:
    """Write points (n, C, H, W) into rows (n,) of images (N, C, H, W), in place, where (n,) it says so."""
    if images.device.type == "cpu":
        # In a random search few points are better, and moving all images would cost a good part of a pass.
        where = where.nonzero().squeeze(1)
        images[rows[where]] = points[where]
    else:  # which would have to wait to learn how many they are
        images[rows] = torch.where(per_image(where, points), points, images[rows])


class BestSoFar:
    """What an attack has found so far, one row per image of the batch.

    Attributes:
        best: (N, C, H, W) the best point; in the beginning the clean image.
        broken: (N,) whether the goal is reached.
        found_by: (N,) the restart that found ``best``; -1 where that is the clean image.
    """

    def __init__(self, batch: AttackBatch) -> None:
        self._minimum_norm = batch.minimum_norm
        self.best = batch.images.clone()
        self.broken = torch.zeros_like(batch.labels, dtype=torch.bool)
        self.found_by = torch.full_like(batch.labels, -1)
        # Of an attack that looks for the nearest image, minus the distance takes the place of the loss.
        self._score = torch.full(batch.labels.shape, -torch.inf, device=batch.images.device)
        # Later and higher successes are not confirmed one by one where that costs a pass each.
        unsure = batch.bf16 and not batch.early_stop and batch.quantize is None
        self._confirmed = (self.best.clone(), self.found_by.clone()) if unsure else None

    def keep(
        self, rows: Tensor, points: Tensor, scores: Tensor, success: Tensor, counts: Tensor, restart: int
    ) -> None:
        """Keep the points that are better than what there is.

        Args:
            rows: (n,) the images' places in the batch.
            points: (n, C, H, W).
            scores: (n,) by which points compare that are successes both, or neither.
            success: (n,) whether the goal is reached; the first one of an image is a confirmed one.
            counts: (n,) whether the point may be kept at all.
            restart: the one that runs.
        """
        broken, higher = self.broken[rows], scores > self._score[rows]
        # A success beats any loss; among equals the higher loss, or the nearer success, is kept.
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
        """Go back to the confirmed success of images (n,) whose best point turned out to be none.

        Returns:
            Whether such successes are kept at all.
        """
        if self._confirmed is None:
            return False
        images, restarts = self._confirmed
        self.best[rows], self.found_by[rows] = images[rows], restarts[rows]
        return True
