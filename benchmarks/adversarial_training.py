"""How fast is adversarial training: robustlab's loop beside the loop people write, in one process.

    OMP_NUM_THREADS=1 python benchmarks/adversarial_training.py
    python benchmarks/adversarial_training.py --batches 938 --batch-size 64 --rounds 1    # a whole epoch

Both train the study's CNN on PGD's images (Madry et al. 2018): ten steps of eps / 4 at Linf 0.3 from a
random start, Adam. The plain loop is fp32, NCHW, with autograd's gradient of the images. Both take turns.
Printed are the wall seconds and the processor's seconds of each round, and the ratio of the least of them.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from robustlab.attacks import PGD
from robustlab.core import device, seeding
from robustlab.data import Split, load_dataset
from robustlab.models import CNN, Shape
from robustlab.threats import Linf
from robustlab.training import PGDTraining, TrainConfig, train
from train_baseline import PlainCNN

EPS, STEPS = 0.3, 10


def train_plain(data: Split, batch_size: int) -> None:
    """Train for one epoch with the loop people write; the images are in memory."""
    network = PlainCNN().train()
    loader = DataLoader(TensorDataset(data.pixels(slice(None)), data.labels), batch_size, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for images, labels in loader:
        points = attacked(network, images, labels)
        optimizer.zero_grad()
        F.cross_entropy(network(2 * points - 1), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def attacked(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return PGD's last points."""
    points = (images + torch.empty_like(images).uniform_(-EPS, EPS)).clamp(0, 1)
    for _ in range(STEPS):
        points = points.detach().requires_grad_()
        loss = F.cross_entropy(network(2 * points - 1), labels)
        (gradient,) = torch.autograd.grad(loss, points)
        points = points.detach() + EPS / 4 * gradient.sign()
        points = torch.min(torch.max(points, images - EPS), images + EPS).clamp(0, 1)
    return points.detach()


def train_ours(data: Split, batch_size: int) -> None:
    """Train for one epoch as a study does."""
    with seeding.isolated(0):
        network = CNN().build(Shape(1, 28, 28, 10))
    objective = PGDTraining(threat=Linf(eps=EPS), attack=PGD(steps=STEPS, rel_step_size=0.25))
    config = TrainConfig(epochs=1, batch_size=batch_size)
    train(network, objective, data, data.take(slice(1)), config=config, compute=device.resolve("cpu"), key=0)


def seconds(loop: Callable[[Split, int], None], data: Split, batch_size: int) -> tuple[float, float]:
    """Return wall seconds, and seconds of processor time."""
    started, used = time.perf_counter(), time.process_time()
    loop(data, batch_size)
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    """Compare both loops."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    data = load_dataset("mnist").train.take(slice(options.batches * options.batch_size))
    print(f"{device.describe('cpu')}, {device.resolve('cpu').precision}, {torch.get_num_threads()} threads")
    loops = {"plain": train_plain, "robustlab": train_ours}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    for _ in range(options.rounds):
        for name, loop in loops.items():
            found[name].append(seconds(loop, data, options.batch_size))
            wall, used = found[name][-1]
            print(f"{name:10} {wall:7.1f} s, {used:7.1f} s of processor time", flush=True)
    for place, what in enumerate(("time", "processor time")):
        ours, plain = (min(row[place] for row in found[name]) for name in ("robustlab", "plain"))
        print(f"{what} of robustlab's loop over the plain one: {100 * ours / plain:.1f} %")


if __name__ == "__main__":
    main()
