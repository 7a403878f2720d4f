"""The loss of a denoising autoencoder (Vincent et al. 2008, doi:10.1145/1390156.1390294)."""

from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import PixelLength, register
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("denoising")
class Denoising(Objective):
    """Squared error between the clean image and the reconstruction of a noisy one, summed over pixels.

    The noise is Gaussian. The noisy image is clipped to [0, 1], as MagNet does (Meng & Chen 2017,
    arXiv:1705.09064): every image that a classifier gets lies there.
    """

    network_kind = "autoencoder"
    std: PixelLength = 0.3
    """Of the noise; 0 trains a plain autoencoder."""

    def loss(self, step: TrainingStep) -> Tensor:
        images = step.images
        noise = seeding.normal(step.draw_key("denoising"), step.ids, tuple(images.shape[1:]))
        noisy = (images + self.std * noise).clamp(0, 1)
        error: Tensor = (step.network(noisy) - images).square().sum() / len(images)
        return error
