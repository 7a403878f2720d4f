"""The networks that the replicas need, each trained for a minute or less and kept in a folder."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from broken_defenses.replicas import Ensemble, KWinners, Thermometer, coder, convolutional
from robustlab.data import load_dataset

FOLDER = Path("runs/broken-defenses")
N_TRAINING, BATCH = 30_000, 128
REJECT = 10
"""The eleventh class of the network that rejects."""

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def training_images() -> tuple[Tensor, Tensor]:
    """Return the first training images (N, 1, 28, 28) in [0, 1], and their labels."""
    images = load_dataset("mnist").train.take(slice(N_TRAINING))
    return images.pixels(slice(None)), images.labels


def kept(name: str, network: nn.Module, loss: Loss, epochs: int) -> nn.Module:
    """Load a network's weights or, the first time, train it and keep them."""
    file = FOLDER / f"{name}.safetensors"
    if not file.exists():
        _train(network, loss, epochs)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(network.state_dict(), file)
    network.load_state_dict(load_file(file))
    return network.eval()


def _train(network: nn.Module, loss: Loss, epochs: int) -> None:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.reset_parameters()
    images, labels = training_images()
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + epochs)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(images)), BATCH):
            optimizer.zero_grad()
            loss(network, images[rows], labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def cross_entropy(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The usual loss."""
    return F.cross_entropy(network(images), labels)


def mixup(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Mixtures of two images, with the mixture of their losses (Zhang et al. 2018, arXiv:1710.09412)."""
    weight, order = float(torch.rand(())), torch.randperm(len(images))
    logits = network(weight * images + (1 - weight) * images[order])
    return weight * F.cross_entropy(logits, labels) + (1 - weight) * F.cross_entropy(logits, labels[order])


def diverse(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Adaptive diversity promoting (Pang et al. 2019): cross-entropy minus entropy and volume."""
    assert isinstance(network, Ensemble)
    answers = [member(images).softmax(dim=1) for member in network.members]
    fits = [F.nll_loss(answer.clamp(min=1e-12).log(), labels) for answer in answers]
    mean = torch.stack(answers).mean(dim=0)
    entropy = -(mean * mean.clamp(min=1e-12).log()).sum(dim=1).mean()
    others = torch.ones_like(mean).scatter_(1, labels.view(-1, 1), 0.0).bool()
    wrong = [answer[others].view(len(images), -1) for answer in answers]
    rest = torch.stack([F.normalize(answer, dim=1) for answer in wrong], dim=1)
    volume: Tensor = torch.linalg.det(rest @ rest.mT + 1e-6 * torch.eye(len(answers)))
    return torch.stack(fits).sum() - 2.0 * entropy - 0.5 * volume.clamp(min=1e-12).log().mean()


def rejecting(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Clean images keep their label; images of FGSM get the class that rejects (Hosseini et al. 2017)."""
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(leaf), labels), leaf)
    eps = 0.05 + 0.25 * torch.rand(len(images), 1, 1, 1)
    attacked = (images + eps * gradient.sign()).clamp(0, 1)
    rejected = torch.full_like(labels, REJECT)
    return F.cross_entropy(network(images), labels) + F.cross_entropy(network(attacked), rejected)


def reconstruction(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The squared error of an autoencoder."""
    del labels
    return F.mse_loss(network(images), images, reduction="sum") / len(images)


def plain_network() -> nn.Module:
    """Return a CNN without a defense."""
    return kept("plain", convolutional(), cross_entropy, 3)


def thermometer_network() -> nn.Module:
    """Return the CNN behind a thermometer code."""
    network = nn.Sequential(Thermometer(), convolutional(16))
    return kept("thermometer", network, cross_entropy, 3)


def k_winners_network() -> nn.Module:
    """Return a CNN whose activations are k-WTA."""
    return kept("k-wta", convolutional(activation=KWinners), cross_entropy, 4)


def diverse_ensemble() -> nn.Module:
    """Return three CNNs, trained together."""
    return kept("ensemble", Ensemble([convolutional() for _ in range(3)]), diverse, 3)


def mixup_network() -> nn.Module:
    """Return a CNN that was trained with mixup."""
    return kept("mixup", convolutional(), mixup, 4)


def rejecting_network() -> nn.Module:
    """Return a CNN of eleven classes, the last of which rejects the image."""
    return kept("reject", convolutional(classes=11), rejecting, 4)


def autoencoder() -> tuple[nn.Module, nn.Module]:
    """Return a trained encoder and decoder."""
    network = nn.Sequential(*coder())
    kept("autoencoder", network, reconstruction, 4)
    return network[0], network[1]
