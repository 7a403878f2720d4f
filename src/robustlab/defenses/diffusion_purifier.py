"""Purification by a diffusion model: add noise, remove it, then classify.

DiffPure (Nie et al. 2022, arXiv:2205.07460), with deterministic DDIM steps (Song, Meng & Ermon 2021,
arXiv:2010.02502). One step is the denoiser of Carlini et al. 2023 (arXiv:2206.10550).
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from robustlab.core.spec import BareText, register
from robustlab.defenses.base import ComposedDefense
from robustlab.models.diffusion import mixture, time_of
from robustlab.models.purifier import PurifiedClassifier
from robustlab.models.randomized import MeanOfCopies, NoisyCopies, Seed, Votes


class DiffusionDenoiser(nn.Module):
    """Removes Gaussian noise of a known standard deviation from images on the pixel scale.

    Gradients are exact. With several steps each step is computed again in the backward pass, so that memory
    does not grow with the number of steps.

    Args:
        network: estimates the noise in points (N, C, H, W) at times (N,), as `models.DiffusionNetwork`.
        std: of the noise, on the pixel scale.
        steps: DDIM steps; the time falls by the same amount in each.
        checkpointed: whether steps are computed again; False takes more memory and a third less time.
    """

    def __init__(self, network: nn.Module, std: float, steps: int, *, checkpointed: bool = True) -> None:
        super().__init__()
        self.network, self.std, self.steps, self.checkpointed = network, std, steps, checkpointed

    def forward(self, images: Tensor) -> Tensor:
        """Return the denoised images (N, C, H, W).

        They are not clipped to [0, 1]: a clip would make the gradient zero where a pixel is black or white.
        """
        start = time_of(self.std)
        share = 1 - torch.arange(self.steps + 1, device=images.device, dtype=images.dtype) / self.steps
        times = start * share
        points = mixture(times[0])[0] * (2 * images - 1)
        step: Callable[[Tensor, Tensor, Tensor], Tensor] = self._step
        if self.checkpointed and self.steps > 1 and torch.is_grad_enabled():
            step = partial(checkpoint, self._step, use_reentrant=False, preserve_rng_state=False)
        for now, then in pairwise(times):
            points = step(points, now, then)
        return (points + 1) / 2

    def _step(self, points: Tensor, now: Tensor, then: Tensor) -> Tensor:
        """Return the points at an earlier time: the same image and the same noise in another mixture."""
        of_image, of_noise = mixture(now)
        noise = self.network(points, now.expand(len(points)))
        image = (points - of_noise * noise) / of_image
        of_image, of_noise = mixture(then)
        mixed: Tensor = of_image * image + of_noise * noise
        return mixed


@register("diffusion_purifier")
class DiffusionPurifier(ComposedDefense):
    """Add noise to every image, remove it with a diffusion model, then classify the result.

    With ``votes`` copies, each with its own noise, the answer is the mean of the probabilities.
    """

    network_kinds: ClassVar[Mapping[str, str]] = {"network": "diffusion model", "classifier": "classifier"}
    network: BareText
    """The diffusion model."""
    classifier: BareText
    """The network that classifies the purified image."""
    noise: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3
    """Standard deviation of the noise on the pixel scale."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 1
    votes: Votes = 1
    """Noisy copies of each image, whose probabilities are averaged."""
    seed: Seed = None
    """A known noise, the same for every image; None: new noise at each call."""

    def compose(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        denoiser = DiffusionDenoiser(networks[self.network], self.noise, self.steps)
        purified = PurifiedClassifier(denoiser, networks[self.classifier])
        return MeanOfCopies(NoisyCopies(self.noise, self.votes, self.seed), purified).eval()
