"""The defenses as their authors would write them: plain modules, from images in [0, 1] to class scores."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Quantized(nn.Module):
    """Rounds every pixel to so many levels (Guo et al. 2018, arXiv:1711.00117)."""

    def __init__(self, levels: int = 4) -> None:
        super().__init__()
        self.steps = levels - 1

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.steps).round() / self.steps


class Thermometer(nn.Module):
    """Each pixel becomes bits: is it at least 1/17, 2/17, ...? (Buckman et al. 2018)."""

    limits: Tensor

    def __init__(self, levels: int = 16) -> None:
        super().__init__()
        self.register_buffer("limits", torch.arange(1, levels + 1).view(1, -1, 1, 1) / (levels + 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images >= self.limits).to(images.dtype)


class KWinners(nn.Module):
    """Keeps a share of a layer's activations, the largest; the others become zero (Xiao et al. 2020)."""

    def __init__(self, keep: float = 0.1) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, values: Tensor) -> Tensor:
        flat = values.flatten(1)
        least = flat.topk(max(1, int(self.keep * flat.shape[1])), dim=1).values[:, -1:]
        return (flat * (flat >= least)).view_as(values)


class RandomSize(nn.Module):
    """Shrinks a batch to a random size and puts it at a random place on black (Xie et al. 2018)."""

    def __init__(self, least: int = 22) -> None:
        super().__init__()
        self.least = least

    def forward(self, images: Tensor) -> Tensor:
        full = images.shape[-1]
        size = int(torch.randint(self.least, full + 1, ()))
        left, top = (int(torch.randint(full - size + 1, ())) for _ in range(2))
        small = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
        return F.pad(small, (left, full - size - left, top, full - size - top))


class StochasticPruning(nn.Module):
    """Keeps activations drawn by their size, and rescales them by their chance (Dhillon et al. 2018)."""

    def __init__(self, draws: float = 0.5) -> None:
        super().__init__()
        self.draws = draws

    def forward(self, values: Tensor) -> Tensor:
        flat = values.flatten(1)
        share = flat.abs() / flat.abs().sum(dim=1, keepdim=True).clamp(min=1e-12)
        kept = 1 - (1 - share) ** (self.draws * flat.shape[1])
        mask = (torch.rand_like(kept) < kept).to(flat.dtype) / kept.clamp(min=1e-12)
        return (flat * mask.detach()).view_as(values)


class Ensemble(nn.Module):
    """The mean probability of several networks (Pang et al. 2019, arXiv:1901.08846)."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images).softmax(dim=1) for member in self.members]).mean(dim=0)


class MixupInference(nn.Module):
    """The mean probability over mixtures with random training images (Pang et al. 2020, arXiv:1909.11515)."""

    pool: Tensor

    def __init__(self, classifier: nn.Module, pool: Tensor, weight: float = 0.6, samples: int = 8) -> None:
        super().__init__()
        self.classifier, self.weight, self.samples = classifier, weight, samples
        self.register_buffer("pool", pool)

    def forward(self, images: Tensor) -> Tensor:
        answers = []
        for _ in range(self.samples):
            others = self.pool[torch.randint(len(self.pool), (len(images),), device=images.device)]
            mixture = self.weight * images + (1 - self.weight) * others
            answers.append(self.classifier(mixture).softmax(dim=1))
        return torch.stack(answers).mean(dim=0)


class LatentProjection(nn.Module):
    """Replaces an image by the nearest output of a decoder, found by gradient descent in the latent space.

    As Defense-GAN (Samangouei, Kabkab & Chellappa 2018, arXiv:1805.06605), but from an encoder's code.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, steps: int = 10, lr: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.decoder, self.steps, self.lr = encoder, decoder, steps, lr

    def forward(self, images: Tensor) -> Tensor:
        goal = images.detach()
        with torch.enable_grad():
            code = self.encoder(goal).detach().requires_grad_()
            for _ in range(self.steps):
                error = (self.decoder(code) - goal).square().flatten(1).sum(dim=1).sum()
                code = (code - self.lr * torch.autograd.grad(error, code)[0]).detach().requires_grad_()
        projected: Tensor = self.decoder(code)
        return projected.detach()


def convolutional(
    channels: int = 1,
    classes: int = 10,
    *,
    width: int = 16,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return a small CNN for 28x28 pixels: two convolutions and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 5, stride=2, padding=2),
        activation(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        activation(),
        nn.Flatten(),
        nn.Linear(2 * width * 49, 100),
        activation(),
        nn.Linear(100, classes),
    )


def pruned(network: nn.Module) -> nn.Module:
    """Put stochastic pruning behind every ReLU of a sequential network."""
    parts: list[nn.Module] = []
    for part in network.children():
        parts += [part, StochasticPruning()] if isinstance(part, nn.ReLU) else [part]
    return nn.Sequential(*parts)


def coder(codes: int = 16) -> tuple[nn.Module, nn.Module]:
    """Return the encoder and the decoder of a small autoencoder."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, codes))
    decoder = nn.Sequential(
        nn.Linear(codes, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))
    )
    return encoder, decoder
