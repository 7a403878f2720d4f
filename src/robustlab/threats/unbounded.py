"""No bound except the pixel range, for changes that no distance between pixels measures."""

from typing import ClassVar

from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.threats.box import Box


@register("unbounded")
class Unbounded(Box):
    """Any image in [0, 1]: for noise, corruptions, rotations, whose own parameters limit them.

    A distance is the largest change of a pixel.
    """

    bounded = False
    eps: ClassVar[float] = 1.0  # type: ignore[misc]  # no two images are farther apart

    def words(self, channels: int | None) -> str:
        del channels
        return "change the image in every way that the attacks below try, and in no other"

    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        del clean, eps
        return images.clamp(0.0, 1.0)

    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        del eps
        return seeding.uniform(key, ids, tuple(clean.shape[1:]))
