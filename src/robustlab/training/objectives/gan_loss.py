"""The two players' losses of a generative adversarial network."""

from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models import GANNetwork
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("gan_loss")
class GanLoss(Objective):
    """The non-saturating game (Goodfellow et al. 2014, arXiv:1406.2661): discriminator, then generator."""

    network_kind = "gan"
    selects = False
    smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0
    """The value that is subtracted from the target 1 of real images (Salimans et al. 2016,
    arXiv:1606.03498)."""

    def players(self, network: nn.Module) -> dict[str, nn.Module]:
        gan = cast("GANNetwork", network)
        return {"discriminator": gan.discriminator, "generator": gan.generator}

    def loss(self, step: TrainingStep) -> Tensor:
        gan, images = cast("GANNetwork", step.network), step.images
        code = torch.randn(len(images), gan.latent, device=images.device)
        if step.player == "generator":
            logits = gan(gan.generate(code))
            return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        with torch.no_grad():
            fake = gan.generate(code)
        real_logits, fake_logits = gan(images), gan(fake)
        real_loss = F.binary_cross_entropy_with_logits(
            real_logits, torch.full_like(real_logits, 1 - self.smoothing)
        )
        return real_loss + F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
