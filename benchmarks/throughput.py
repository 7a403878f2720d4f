"""Where the time goes: matrix products, epochs of each network, input gradients, steps of PGD.

    python benchmarks/throughput.py
    python benchmarks/throughput.py products gradients                  # some of the four parts
    python benchmarks/throughput.py gradients --keep-freed-memory       # as the command line does
    GOMP_SPINCOUNT=300000 python benchmarks/throughput.py epochs        # torch's own default
    OMP_WAIT_POLICY=PASSIVE python benchmarks/throughput.py epochs

To see the effect of a busy machine, start `python -c "while True: pass"` beside it.
"""

import argparse
import os
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import robustlab  # noqa: F401 (sets the threads' waiting before torch is loaded)
from robustlab.attacks import PGD, frozen
from robustlab.core import device
from robustlab.core.memory import keep_freed_memory
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


def products() -> None:
    """Print how fast square matrices are multiplied in both precisions."""
    size, times = 1024, 20
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.rand(2, size, size).to(dtype).unbind()

        def work(left: Tensor = left, right: Tensor = right) -> None:
            for _ in range(times):
                left @ right

        print(f"{size} x {size}, {dtype}: {2e-9 * times * size**3 / _seconds(work):.0f} GFLOP/s", flush=True)


def epochs(data: Splits) -> None:
    """Print the seconds that an epoch of each network takes."""
    networks: list[tuple[str, Model, Objective, int]] = [
        ("CNN", CNN(), CrossEntropy(), 12_800),
        ("VAE", VAE(), VaeLoss(), 19_200),
        ("GAN", GAN(), GanLoss(), 9_600),
    ]
    for name, model, objective, count in networks:
        print(f"{name}: {epoch_seconds(data, model, objective, count):.2f} s an epoch", flush=True)


def gradients(data: Splits) -> None:
    """Print how many input gradients a second each batch, layout and precision gives."""
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


def pgd(data: Splits) -> None:
    """Print what PGD's number and length of steps are worth on a CNN of four epochs."""
    images, labels = data.test.pixels(slice(3000)), data.test.labels[:3000]
    network, config, compute = CNN().build(SHAPE), TrainConfig(epochs=4), device.resolve("cpu")
    train(network, CrossEntropy(), data.train, data.validation, config=config, compute=compute, key=1)
    print("PGD on a CNN of four epochs at eps 0.125, first 3,000 test images: accuracy left, gradients")
    for steps, step in ((40, 1 / 30), (20, 0.1), (20, 0.2), (40, 0.1), (40, 1 / 16), (100, 0.03)):
        found = PGD(steps=steps, rel_step_size=step).run(network, images, labels, Linf(eps=0.125))
        left = (found.predictions == labels).float().mean().item()
        print(
            f"{steps} steps of {step:.3f} eps: {100 * left:.1f} %, {int(found.backwards.sum()):,}", flush=True
        )


def main() -> None:
    """Print the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts: dict[str, Callable[[Splits], None]] = {
        "products": lambda _: products(),
        "epochs": epochs,
        "gradients": gradients,
        "pgd": pgd,
    }
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--keep-freed-memory", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.parts) - parts.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the parts are {', '.join(parts)}")
    if options.keep_freed_memory:
        keep_freed_memory()
    waiting = {name: os.environ.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    print(f"{device.describe('cpu')}, torch {torch.__version__}, {waiting}")
    data = load_dataset("mnist")
    for part in options.parts or parts:
        parts[part](data)


if __name__ == "__main__":
    main()
