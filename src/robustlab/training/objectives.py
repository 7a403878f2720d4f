"""What a network is trained for: each objective is a loss, and says who plays."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import Unit, register
from robustlab.models import GANNetwork, VAENetwork


class Objective(Unit, ABC):
    """A loss to minimise. Random numbers come from torch's global generator, which the loop seeds."""

    kind = "objective"
    example = "cross_entropy"
    network_kind: ClassVar[str] = "classifier"
    """The kind of network that it trains, as `Model.network_kind` names it."""
    selects = True
    """Whether the weights with the lowest validation loss are kept, rather than the last ones."""

    def players(self, network: nn.Module) -> dict[str, nn.Module]:
        """Return the parts that are optimised in turn, each on its own loss; most objectives have one."""
        return {"loss": network}

    @abstractmethod
    def loss(self, network: nn.Module, player: str, images: Tensor, labels: Tensor) -> Tensor:
        """Return a player's mean loss on a batch (a scalar)."""

    def correct(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor | None:
        """Return which images (N,) are classified correctly, or None if the network is no classifier."""
        del network, images, labels
        return None


@register("cross_entropy")
class CrossEntropy(Objective):
    """Mean cross-entropy of a classifier."""

    def loss(self, network: nn.Module, player: str, images: Tensor, labels: Tensor) -> Tensor:
        del player
        return F.cross_entropy(network(images).float(), labels)

    def correct(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor | None:
        return cast("Tensor", network(images)).argmax(dim=1) == labels


@register("reconstruction")
class VaeLoss(Objective):
    """Squared error of a VAE, summed over pixels, plus ``kl_weight`` times the KL divergence.

    Weight 0 is the mean squared error alone; weight 1 is the evidence lower bound for a Gaussian
    decoder of variance 1/2 (Kingma & Welling 2014, arXiv:1312.6114, appendix B for the divergence).
    """

    network_kind = "autoencoder"
    kl_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Of the divergence of the code from the standard normal distribution."""

    def loss(self, network: nn.Module, player: str, images: Tensor, labels: Tensor) -> Tensor:
        del player, labels
        vae = cast("VAENetwork", network)
        mean, log_variance = vae.encode(images)
        noise = torch.randn_like(mean)
        restored = vae.generate(mean + torch.exp(0.5 * log_variance) * noise)
        error = (restored - images).square().sum() / len(images)
        if self.kl_weight == 0:
            return error
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / len(images)
        return error + self.kl_weight * divergence


@register("adversarial_game")
class GanLoss(Objective):
    """The non-saturating game (Goodfellow et al. 2014, arXiv:1406.2661): discriminator, then generator."""

    network_kind = "gan"
    selects = False
    smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0
    """What is taken off the target 1 of real images (Salimans et al. 2016, arXiv:1606.03498)."""

    def players(self, network: nn.Module) -> dict[str, nn.Module]:
        gan = cast("GANNetwork", network)
        return {"discriminator": gan.discriminator, "generator": gan.generator}

    def loss(self, network: nn.Module, player: str, images: Tensor, labels: Tensor) -> Tensor:
        del labels
        gan = cast("GANNetwork", network)
        code = torch.randn(len(images), gan.latent, device=images.device)
        if player == "generator":
            logits = gan(gan.generate(code))
            return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        with torch.no_grad():
            fake = gan.generate(code)
        real_logits, fake_logits = gan(images), gan(fake)
        real_loss = F.binary_cross_entropy_with_logits(
            real_logits, torch.full_like(real_logits, 1 - self.smoothing)
        )
        return real_loss + F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
