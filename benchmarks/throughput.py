"""Where the time goes: seconds per epoch of each network, and input gradients per second.

    python benchmarks/throughput.py
    GOMP_SPINCOUNT=300000 python benchmarks/throughput.py     # torch's own default
    OMP_WAIT_POLICY=PASSIVE python benchmarks/throughput.py

To see the effect of a busy machine, start `python -c "while True: pass"` beside it.
"""

import os
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import robustlab  # noqa: F401 (sets the threads' waiting before torch is loaded)
from robustlab.attacks import PGD, frozen
from robustlab.core import device
from robustlab.data import Splits, load_dataset
from robustlab.models import CNN, GAN, VAE, Model, Shape
from robustlab.threats import Linf
from robustlab.training import Adam, CrossEntropy, GanLoss, Objective, TrainConfig, VaeLoss, train

SHAPE = Shape(1, 28, 28, 10)


def epoch_seconds(data: Splits, model: Model, objective: Objective, images: int) -> float:
    """Return the better of two measurements, scaled to an epoch of 48,000 images."""
    network = model.build(SHAPE)
    part, held_out = data.train.take(slice(images)), data.validation.take(slice(500))
    times = []
    for _ in range(2):
        started = time.perf_counter()
        config = TrainConfig(epochs=1, optimizer=Adam(lr=2e-4))
        train(network, objective, part, held_out, config=config, compute=device.resolve("cpu"), key=1)
        times.append(time.perf_counter() - started)
    return min(times) * 48_000 / images


def gradients_per_second(
    network: nn.Module, images: Tensor, labels: Tensor, batch: int, *, bf16: bool
) -> float:
    """Return how many images a second have their cross-entropy's gradient computed."""

    def step(rows: slice) -> None:
        points = images[rows].clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = network(points)
        torch.autograd.grad(F.cross_entropy(logits.float(), labels[rows], reduction="sum"), points)

    def whole() -> None:
        for start in range(0, len(images), batch):
            step(slice(start, start + batch))

    with frozen(network):
        return len(images) / _seconds(whole)


def _seconds(work: Callable[[], None]) -> float:
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print both tables, and what PGD's step length is worth."""
    data = load_dataset("mnist")
    waiting = {name: os.environ.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    print(f"{device.describe('cpu')}, torch {torch.__version__}, {waiting}")
    networks: list[tuple[str, Model, Objective, int]] = [
        ("CNN", CNN(), CrossEntropy(), 12_800),
        ("VAE", VAE(), VaeLoss(), 19_200),
        ("GAN", GAN(), GanLoss(), 9_600),
    ]
    for name, model, objective, count in networks:
        print(f"{name}: {epoch_seconds(data, model, objective, count):.2f} s an epoch", flush=True)

    images, labels = data.test.pixels(slice(4000)), data.test.labels[:4000]
    print("gradients a second: batch, NCHW fp32, channels-last fp32, channels-last bf16")
    for batch in (64, 125, 250, 500, 1000):
        figures = []
        for layout, bf16 in (
            (torch.contiguous_format, False),
            (torch.channels_last, False),
            (torch.channels_last, True),
        ):
            network = CNN().build(SHAPE).eval().to(memory_format=layout)
            figures.append(gradients_per_second(network, images, labels, batch, bf16=bf16))
        print(batch, *(f"{figure:9,.0f}" for figure in figures), flush=True)

    network = CNN().build(SHAPE)
    config = TrainConfig(epochs=4)
    train(
        network,
        CrossEntropy(),
        data.train,
        data.validation,
        config=config,
        compute=device.resolve("cpu"),
        key=1,
    )
    print("PGD on a CNN of four epochs at eps 0.125, first 3,000 test images: accuracy left, gradients")
    for steps, step in ((40, 1 / 30), (20, 0.1), (20, 0.2), (40, 0.1), (40, 1 / 16), (100, 0.03)):
        found = PGD(steps=steps, rel_step_size=step).run(
            network, images[:3000], labels[:3000], Linf(eps=0.125)
        )
        left = (found.predictions == labels[:3000]).float().mean().item()
        print(
            f"{steps} steps of {step:.3f} eps: {100 * left:.1f} %, {int(found.backwards.sum()):,}", flush=True
        )


if __name__ == "__main__":
    main()
