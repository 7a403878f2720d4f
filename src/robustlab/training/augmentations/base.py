"""The base class of every augmentation."""

from abc import ABC, abstractmethod

from torch import Tensor

from robustlab.core.spec import Unit


class Augmentation(Unit, ABC):
    """A random change of the training images that keeps their labels."""

    kind = "augmentation"
    example = "shift(pixels=2)"

    @abstractmethod
    def apply(self, images: Tensor, key: int, ids: Tensor) -> Tensor:
        """Return changed images (N, C, H, W) in [0, 1].

        Args:
            images: (N, C, H, W) float32 on the pixel scale [0, 1]; not to be changed in place.
            key: of the draws, as `seeding.uniform(key, ids, shape)` takes it; different in each epoch.
            ids: (N,) the images' dataset ids. An image's change depends only on its id and the key.
        """
