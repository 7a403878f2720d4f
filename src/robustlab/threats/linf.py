"""The Linf ball: every pixel moves independently."""

from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import PixelLength, register
from robustlab.core.text import level
from robustlab.threats.base import pixels, scale
from robustlab.threats.box import Box


@register("linf")
class Linf(Box):
    """Every pixel may change by at most eps."""

    eps: PixelLength

    def words(self, channels: int | None) -> str:
        return f"change every {pixels(channels)} by up to {level(self.eps)}, {scale(channels)}"

    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        radius = self._radius(images, eps)
        return images.clamp((clean - radius).clamp_(min=0.0), (clean + radius).clamp_(max=1.0))

    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        draws = seeding.uniform(key, ids, tuple(clean.shape[1:]))
        return self.project(clean + self._radius(clean, eps) * (2 * draws - 1), clean, eps)
