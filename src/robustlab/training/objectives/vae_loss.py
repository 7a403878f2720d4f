"""The loss of a variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.errors import RobustlabError
from robustlab.core.spec import register
from robustlab.models import VariationalAutoencoder
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("vae_loss")
class VaeLoss(Objective):
    """Squared error of a VAE, summed over pixels, plus ``kl_weight`` times the KL divergence.

    Weight 0 leaves only the squared error. Weight 1 is the negative evidence lower bound for a Gaussian
    decoder of variance 1/2 (divergence: appendix B of the paper).
    """

    network_kind = "autoencoder"
    kl_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """The weight of the code's divergence from the standard normal distribution."""

    def players(self, network: nn.Module) -> dict[str, nn.Module]:
        """Return the network as the only player.

        Raises:
            RobustlabError: it is an autoencoder without a code that is drawn.
        """
        return {"loss": _variational(network)}

    def loss(self, step: TrainingStep) -> Tensor:
        vae, images = _variational(step.network), step.images
        mean, log_variance = vae.encode(images)
        noise = torch.randn_like(mean)
        restored = vae.generate(mean + torch.exp(0.5 * log_variance) * noise)
        error = (restored - images).square().sum() / len(images)
        if self.kl_weight == 0:
            return error
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / len(images)
        return error + self.kl_weight * divergence


def _variational(network: nn.Module) -> VariationalAutoencoder:
    if not isinstance(network, VariationalAutoencoder):
        raise RobustlabError(
            "vae_loss trains a variational autoencoder, such as vae or conv_vae; try denoising"
        )
    return network
