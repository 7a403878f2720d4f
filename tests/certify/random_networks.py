"""Random small networks of many kinds, and points of a threat model to try them on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.models import Normalize
from robustlab.threats import L0, L1, L2, Linf, ThreatModel


class Residual(nn.Module):
    """x + f(x), or a concatenation of both, with the activation in place as in many public networks."""

    def __init__(self, channels: int, *, concatenate: bool, in_place: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.concatenate, self.in_place = concatenate, in_place

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(F.relu(self.norm(self.conv1(x)), inplace=self.in_place))
        if self.concatenate:
            return torch.cat([x, y], dim=1)
        y += x
        return y


class Standardize(nn.Module):
    """(x - mean) / std with one mean and std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.linspace(0.2, 0.5, channels).view(1, -1, 1, 1))
        self.register_buffer("std", torch.linspace(0.2, 0.4, channels).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class ByHand(nn.Module):
    """A classifier's end in the functional style."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, 7) / math.sqrt(features))
        self.fc = nn.Linear(7, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.size(0), -1) @ self.weight
        x = 0.3 - torch.clamp(F.relu(x), max=2.0) * 1.7
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits.float()


ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.ReLU,
    lambda: nn.ReLU(inplace=True),
    lambda: nn.LeakyReLU(0.1),
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
    nn.Softsign,
    nn.LogSigmoid,
    nn.Hardtanh,
    nn.Hardsigmoid,
    nn.ReLU6,
    nn.PReLU,
    nn.Identity,
]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network with images and the labels it gives them."""

    model: nn.Module
    images: Tensor
    labels: Tensor


@st.composite
def cases(draw: st.DrawFn, images: int = 3) -> Case:
    """Draw a network with one to four convolutional blocks or none, and images for it."""

    def pick(*options: Any) -> Any:
        return draw(st.sampled_from(options))

    channels, height, width = pick(1, 2, 3, 4), pick(7, 8, 11), pick(6, 9)
    classes, seed = pick(2, 3, 10, 100), draw(st.integers(0, 10**6))
    shape = (channels, height, width)
    with seeding.isolated(seed):
        layers: list[nn.Module] = []
        if pick(True, False):
            layers.append(pick(Normalize(), Standardize(channels)))
        for _ in range(pick(0, 1, 1, 2, 3, 4)):
            layers.append(_block(pick, channels))
            layers.append(pick(*ACTIVATIONS)())
            with torch.no_grad():
                channels = nn.Sequential(*layers).eval()(torch.zeros(1, *shape)).shape[1]
        layers.append(pick(nn.Identity(), nn.Dropout(), nn.AdaptiveAvgPool2d((2, 1))))
        with torch.no_grad():
            features = nn.Sequential(*layers).eval()(torch.zeros(1, *shape)).numel()
        layers += pick(
            [nn.Flatten(), nn.Linear(features, classes)],
            [nn.Flatten(), nn.Linear(features, 9), pick(*ACTIVATIONS)(), nn.Linear(9, classes, bias=False)],
            [nn.Flatten(), nn.Linear(features, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, classes)],
            [nn.Flatten(), nn.Linear(features, classes), nn.BatchNorm1d(classes)],
            [ByHand(features, classes)],
        )
        model = nn.Sequential(*layers)
        randomize(model)
        pixels = torch.rand(images, *shape).mul_(pick(1.0, 1.3)).clamp_(max=1.0)
    model.eval()
    with torch.no_grad():
        return Case(model=model, images=pixels, labels=model(pixels).argmax(dim=1))


def _block(pick: Callable[..., Any], channels: int) -> Any:
    """Return one layer that keeps images at least 2x2."""
    return pick(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.Conv2d(channels, 2 * channels, 3, padding=1, groups=channels),
        nn.Conv2d(channels, 3, (3, 2), stride=2, padding=2, bias=False),
        nn.Conv2d(channels, 4, 3, padding=2, dilation=2),
        nn.Conv2d(channels, 4, 3, padding="same", padding_mode="circular"),
        nn.Sequential(nn.Conv2d(channels, 5, 1), nn.BatchNorm2d(5)),
        nn.Sequential(nn.Conv2d(channels, 4, 2, padding=1), nn.MaxPool2d(2, stride=1, padding=1)),
        nn.Sequential(nn.Conv2d(channels, 4, 2, padding=1), nn.AvgPool2d(3, stride=2, padding=1)),
        Residual(channels, concatenate=False, in_place=True),
        Residual(channels, concatenate=True, in_place=False),
        nn.BatchNorm2d(channels),
    )


def randomize(model: nn.Module) -> None:
    """Give batch norms statistics and weights of either sign, as training leaves them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                assert tensor is not None
                tensor.normal_()
            assert module.running_var is not None
            module.running_var.uniform_(0.3, 2.0)


THREATS: list[ThreatModel] = [
    Linf(eps=0.001),
    Linf(eps=0.03),
    Linf(eps=0.3),
    Linf(eps=1.0),
    L2(eps=0.01),
    L2(eps=0.5),
    L1(eps=0.02),
    L1(eps=1.5),
    L0(eps=1),
    L0(eps=4),
]


def points(case: Case, threat: ThreatModel, n: int, seed: int = 0) -> list[Tensor]:
    """Return allowed images: random ones, corners, and those towards which each class pulls."""
    images, model = case.images, case.model
    ids = torch.arange(len(images))
    found = [images]
    for k in range(n):
        key = seeding.derive(seed, k)
        found.append(threat.random_start(images, key, ids))
        noise = seeding.normal(key, ids, tuple(images.shape[1:]))
        found.append(threat.project(threat.ascend(images, noise, 1.0), images))
        found.append(threat.project(torch.where(noise > 0, 1.0, 0.0), images))
    for start in found[:2]:
        point = start.clone().requires_grad_()
        logits = model(point)
        here = logits.gather(1, case.labels[:, None])
        for target in range(min(logits.shape[1], 4)):
            pull = logits[:, target] - here[:, 0]
            (gradient,) = torch.autograd.grad(pull.sum(), point, retain_graph=True, allow_unused=True)
            assert gradient is not None
            found.append(threat.project(threat.ascend(images, gradient, 1.0), images))
    return [point.detach() for point in found]
