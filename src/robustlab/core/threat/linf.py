"""The Linf ball: every pixel moves by itself."""

from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import PixelLength, register
from robustlab.core.threat.base import ThreatModel


@register("linf")
class Linf(ThreatModel):
    """Every pixel may change by at most eps."""

    eps: PixelLength

    def largest_distance(self, shape: tuple[int, ...]) -> float:
        del shape
        return 1.0

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        return (images - clean).flatten(1).abs().amax(dim=1)

    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        radius = self._radius(images, eps)
        return images.clamp((clean - radius).clamp_(min=0.0), (clean + radius).clamp_(max=1.0))

    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        draws = seeding.uniform(key, ids, tuple(clean.shape[1:]))
        return self.project(clean + self._radius(clean, eps) * (2 * draws - 1), clean, eps)

    def ascend(
        self, images: Tensor, gradient: Tensor, fraction: float | Tensor, eps: Tensor | None = None
    ) -> Tensor:
        return images + self._radius(images, eps, fraction) * gradient.sign()
