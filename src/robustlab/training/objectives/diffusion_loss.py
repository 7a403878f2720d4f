"""The loss of a denoising diffusion model (Ho, Jain & Abbeel 2020, arXiv:2006.11239, equation 14)."""

from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.models.diffusion import mixture
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("diffusion_loss")
class DiffusionLoss(Objective):
    """Mean squared error of the estimated noise, at a uniformly drawn time for each image.

    A network that always estimates zero has loss 1.
    """

    network_kind = "diffusion model"

    def loss(self, step: TrainingStep) -> Tensor:
        shape = tuple(step.images.shape[1:])
        noise = seeding.normal(step.draw_key("noise"), step.ids, shape)
        time = seeding.uniform(step.draw_key("time"), step.ids, (1, 1, 1))
        of_image, of_noise = mixture(time)
        points = of_image * (2 * step.images - 1) + of_noise * noise
        error: Tensor = (step.network(points, time.flatten()) - noise).square().mean()
        return error
