"""How fast and how good the study's baseline is trained: robustlab's loop beside the loop people write.

    python benchmarks/train_baseline.py                 # the stated recipe: 10 epochs, batch 64
    python benchmarks/train_baseline.py --epochs 2      # a quick look
    python benchmarks/train_baseline.py --plain-seeds 0 # accuracy over seeds only

Both loops train the same network by the same recipe (Adam, lr 1e-3, batch 64, 80/20 split, the weights with
the best validation loss kept) in one process, one after the other. The plain loop is torchvision's data set
behind a DataLoader, NCHW, fp32. Printed are seconds, their ratio, test accuracy, and accuracy under FGSM with
eps 0.25 after normalisation to [-1, 1] (0.125 on the pixel scale).
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from robustlab.attacks import FGSM
from robustlab.core import device, seeding
from robustlab.data import Splits, load_dataset, mnist
from robustlab.evaluation.classify import classify
from robustlab.models import CNN, Shape
from robustlab.threats import Linf
from robustlab.training import CrossEntropy, TrainConfig, train

SHAPE = Shape(1, 28, 28, 10)


class PlainCNN(nn.Module):
    """The study's network as one would write it, for images already normalised to [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.dropout = nn.Dropout(0.2)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.dropout(F.relu(self.fc1(x.flatten(1))))
        logits: torch.Tensor = self.fc3(F.relu(self.fc2(x)))
        return logits


def train_ours(data: Splits, epochs: int, seed: int) -> nn.Module:
    """Train as a study does."""
    with seeding.isolated(seeding.derive(seed, "weights")):
        network = CNN().build(SHAPE)
    config = TrainConfig(epochs=epochs)
    key = seeding.derive(seed, "training")
    train(
        network,
        CrossEntropy(),
        data.train,
        data.validation,
        config=config,
        compute=device.resolve("cpu"),
        key=key,
    )
    return network


def train_plain(data: Splits, root: Path, epochs: int, seed: int) -> nn.Module:
    """Train with the loop people write; the split is the same."""
    torch.manual_seed(seed)
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    files = MNIST(str(root), train=True, transform=to_tensor)
    loader = DataLoader(Subset(files, data.train.ids.tolist()), batch_size=64, shuffle=True)
    held_out = DataLoader(Subset(files, data.validation.ids.tolist()), batch_size=64)
    network = PlainCNN()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    best, best_loss = network.state_dict(), float("inf")
    for _ in range(epochs):
        network.train()
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        total = 0.0
        with torch.no_grad():
            for images, labels in held_out:
                total += F.cross_entropy(network(images), labels, reduction="sum").item()
        if total < best_loss:
            best, best_loss = {k: v.clone() for k, v in network.state_dict().items()}, total
    network.load_state_dict(best)
    normalize = transforms.Normalize((0.5,), (0.5,))
    return nn.Sequential(normalize, network.eval()).eval()


def measure(network: nn.Module, data: Splits) -> tuple[float, float]:
    """Return test accuracy clean and under FGSM in study units."""
    images, labels = data.test.pixels(slice(None)), data.test.labels
    clean = (classify(network, images)[0] == labels).float().mean().item()
    result = FGSM().run(network, images, labels, Linf(eps=0.125), ids=data.test.ids, early_stop=False)
    return clean, (result.predictions == labels).float().mean().item()


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of robustlab's loop")
    parser.add_argument("--plain-seeds", type=int, default=1, help="seeds of the plain loop")
    parser.add_argument("--data-root", type=Path, default=None)
    arguments = parser.parse_args()
    data = load_dataset("mnist", data_root=arguments.data_root)
    root = mnist.MNIST().find(arguments.data_root)
    assert root is not None
    print(f"{device.describe('cpu')}, {device.resolve('cpu').precision}, torch {torch.__version__}")
    print(f"{'loop':10} {'seed':>4} {'seconds':>8} {'clean':>8} {'FGSM 0.125':>11}")
    found: dict[str, list[Any]] = {"plain": [], "robustlab": []}
    for loop, seeds in (("plain", arguments.plain_seeds), ("robustlab", arguments.seeds)):
        for seed in range(seeds):
            started = time.perf_counter()
            if loop == "plain":
                network = train_plain(data, root, arguments.epochs, seed)
            else:
                network = train_ours(data, arguments.epochs, seed)
            seconds = time.perf_counter() - started
            clean, fgsm = measure(network, data)
            found[loop].append((seconds, clean, fgsm))
            print(f"{loop:10} {seed:4} {seconds:8.1f} {100 * clean:7.2f} % {100 * fgsm:9.2f} %", flush=True)
    for loop, rows in found.items():
        if rows:
            means = [statistics.mean(column) for column in zip(*rows, strict=True)]
            print(f"{loop:10} mean {means[0]:8.1f} {100 * means[1]:7.2f} % {100 * means[2]:9.2f} %")
    if found["plain"] and found["robustlab"]:
        ratio = statistics.mean(r[0] for r in found["robustlab"]) / statistics.mean(
            r[0] for r in found["plain"]
        )
        print(f"time of robustlab's loop over the plain one: {100 * ratio:.1f} %")


if __name__ == "__main__":
    main()
