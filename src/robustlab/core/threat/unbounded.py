"""No bound but the pixel range, for changes whose size no distance between pixels tells."""

from typing import ClassVar

from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.core.threat.base import ThreatModel


@register("unbounded")
class Unbounded(ThreatModel):
    """Any image in [0, 1]: for noise, corruptions, rotations, whose own parameters say how far they go.

    A distance is the largest change of a pixel.
    """

    bounded = False
    eps: ClassVar[float] = 1.0  # type: ignore[misc]  # no two images are farther apart

    def largest_distance(self, shape: tuple[int, ...]) -> float:
        del shape
        return 1.0

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        return (images - clean).flatten(1).abs().amax(dim=1)

    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        del clean, eps
        return images.clamp(0.0, 1.0)

    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        del eps
        return seeding.uniform(key, ids, tuple(clean.shape[1:]))

    def ascend(
        self, images: Tensor, gradient: Tensor, fraction: float | Tensor, eps: Tensor | None = None
    ) -> Tensor:
        return images + self._radius(images, eps, fraction) * gradient.sign()
