"""What a busy neighbour costs: with one thread, with all threads, and with the number chosen by measurement.

    python benchmarks/busy.py
    python benchmarks/busy.py --neighbours 2 --rounds 3 pgd epoch
    python benchmarks/busy.py --neighbours 0             # quiet alone

It starts the neighbours itself, processes that use one core each, on a machine that is quiet otherwise.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import robustlab  # before torch: it sets how long the threads wait for each other in a busy loop

# isort: split
import torch

from robustlab.attacks import PGD
from robustlab.core import device, threads
from robustlab.core.progress import Progress
from robustlab.models import CNN, Shape
from robustlab.threats import Linf
from robustlab.training import Adam, CrossEntropy, TrainConfig, train

_WANTED = 1.3
"""The largest ratio of the choice's time to the better of the two others."""


def standard() -> None:
    """Evaluate a small network by ``standard``, without checks."""
    with TemporaryDirectory() as folder:
        robustlab.evaluate(
            model="mnist_single_step",
            threat="linf(eps=0.3)",
            attacks="standard",
            n=200,
            out=Path(folder) / "run",
            precision="fp32",
            checks=False,
            progress=Progress(),
        )


def pgd() -> None:
    """Run PGD of 40 steps on all images."""
    PGD(steps=40).run(NETWORK, TEST.pixels(slice(None)), TEST.labels, Linf(eps=0.3), early_stop=False)


def epoch() -> None:
    """Train the study's CNN on a quarter of an epoch."""
    compute, config = device.resolve("cpu"), TrainConfig(epochs=1, optimizer=Adam(lr=2e-4))
    network = CNN().build(Shape(1, 28, 28, 10))
    train(network, CrossEntropy(), TRAIN, VALIDATION, config=config, compute=compute, key=1)


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep ``count`` processes busy inside the block."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.5)
    try:
        yield
    finally:
        for process in running:
            process.kill()


def seconds(work: Callable[[], None], number: int, *, fixed: bool) -> float:
    """Return how long some work takes."""
    os.environ[threads.VARIABLE] = "fixed" if fixed else "measured"
    torch.set_num_threads(number)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Print the seconds of each kind of work, quiet and busy."""
    kinds = {"standard": standard, "pgd": pgd, "epoch": epoch}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(kinds))
    parser.add_argument("--neighbours", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    most = torch.get_num_threads()
    print(f"{device.describe('cpu')}, torch {torch.__version__}; seconds, means of {options.rounds} rounds")
    print("work      neighbours   1 thread   all   measured   ratio to the better")
    for count in sorted({0, options.neighbours}):
        with neighbours(count):
            for name in options.kinds or kinds:
                kinds[name]()  # kernels are made at the first call
                rounds = [
                    (
                        seconds(kinds[name], 1, fixed=True),
                        seconds(kinds[name], most, fixed=True),
                        seconds(kinds[name], most, fixed=False),
                    )
                    for _ in range(options.rounds)
                ]
                one, every, measured = (mean(times) for times in zip(*rounds, strict=True))
                ratio = measured / min(one, every)
                print(
                    f"{name:9} {count:10} {one:10.2f} {every:5.2f} {measured:10.2f} {ratio:21.2f}"
                    f"{'' if ratio <= _WANTED else '  above ' + str(_WANTED)}",
                    flush=True,
                )


DATA = robustlab.load_dataset("mnist")
TEST, VALIDATION = DATA.test.take(slice(200)), DATA.validation.take(slice(500))
TRAIN = DATA.train.take(slice(12_000))
NETWORK = robustlab.load_from_zoo("mnist_single_step")

if __name__ == "__main__":
    main()
