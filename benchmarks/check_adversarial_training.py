"""Is the study's adversarially trained CNN really easier to attack than the baseline? Independent code says.

    python benchmarks/check_adversarial_training.py

Nothing of robustlab is used but the place where the data lies: a plain loop, fp32, FGSM in three lines, the
first 48,000 training images, four epochs, the first 2,000 test images, eps 0.125 on the pixel scale.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.datasets import MNIST

from robustlab.data import mnist
from train_baseline import PlainCNN

EPS, EPOCHS = 0.125, 4


def fgsm(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the FGSM images."""
    parts = []
    for start in range(0, len(images), 250):
        points = images[start : start + 250].clone().requires_grad_()
        loss = F.cross_entropy(network(2 * points - 1), labels[start : start + 250])
        (gradient,) = torch.autograd.grad(loss, points)
        parts.append((points + EPS * gradient.sign()).clamp(0, 1).detach())
    return torch.cat(parts)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy in percent."""
    predictions: Tensor = network(2 * images - 1).argmax(1)
    return 100 * (predictions == labels).float().mean().item()


def train(images: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor) -> nn.Module:
    """Train a fresh network and print what becomes of its white-box accuracy."""
    network = PlainCNN().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for epoch in range(EPOCHS):
        network.train()
        for rows in torch.split(torch.randperm(len(images)), 64):
            optimizer.zero_grad()
            F.cross_entropy(network(2 * images[rows] - 1), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        attacked = accuracy(network, fgsm(network, test, test_labels), test_labels)
        clean = accuracy(network, test, test_labels)
        print(f"epoch {epoch + 1}: clean {clean:.1f} %, FGSM on itself {attacked:.1f} %", flush=True)
    return network


def main() -> None:
    """Train both networks."""
    root = mnist.MNIST().find()
    assert root is not None, "MNIST is not on this machine"
    torch.manual_seed(0)
    files, test_files = MNIST(str(root), train=True), MNIST(str(root), train=False)
    images, labels = files.data[:48_000, None].float() / 255, files.targets[:48_000]
    test, test_labels = test_files.data[:2000, None].float() / 255, test_files.targets[:2000]
    print("baseline")
    baseline = train(images, labels, test, test_labels)
    transfer_set = fgsm(baseline, test, test_labels)
    mixture = images.clone()
    attacked = round(0.3 * len(images))
    mixture[:attacked] = fgsm(baseline, images[:attacked], labels[:attacked])
    print("70 % clean, 30 % FGSM images of the baseline")
    retrained = train(mixture, labels, test, test_labels)
    print(f"on the baseline's FGSM test set: {accuracy(retrained, transfer_set, test_labels):.1f} %")


if __name__ == "__main__":
    main()
