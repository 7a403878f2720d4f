"""How soon does a training reach 99 % on MNIST? Five seeds by robustlab's loop, each in seconds.

    OMP_NUM_THREADS=2 python benchmarks/ninety_nine.py
    python benchmarks/ninety_nine.py --seeds 1 --no-test --epochs 2    # what a choice of the recipe looks at

The recipe was chosen on validation images: 5,000 of the 60,000 training images. The others are trained on.
Of each training the epoch with the lowest validation loss is kept, and its test accuracy is measured once.
The seconds are those of the training with its validation, without loading the data.
"""

import argparse
import statistics
import time

import torch

from robustlab.core import device, seeding
from robustlab.core.spec import parse
from robustlab.data import load_dataset
from robustlab.evaluation.classify import classify
from robustlab.models import Model, Shape
from robustlab.training import Augmentation, CrossEntropy, Optimizer, Schedule, TrainConfig, train

ARCHITECTURE = "deep_cnn(channels=(16, 32), strides=(2, 2), hidden=128)"
OPTIMIZER, SCHEDULE, AUGMENTATION = "sgd(lr=0.3)", "triangle(peak=0.2)", ("shift(pixels=1)",)


def main() -> None:
    """Train five networks and print the mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--architecture", default=ARCHITECTURE)
    parser.add_argument("--optimizer", default=OPTIMIZER)
    parser.add_argument("--schedule", default=SCHEDULE)
    parser.add_argument("--augmentation", nargs="*", default=AUGMENTATION)
    parser.add_argument("--no-test", action="store_true", help="measure the validation accuracy alone")
    options = parser.parse_args()
    data, compute = load_dataset("mnist", validation_fraction=1 / 12), device.resolve("cpu")
    config = TrainConfig(
        epochs=options.epochs,
        batch_size=options.batch_size,
        optimizer=parse(Optimizer, options.optimizer),
        schedule=parse(Schedule, options.schedule),
        augmentation=tuple(parse(Augmentation, text) for text in options.augmentation),
    )
    print(f"{device.describe('cpu')}, {compute.precision}, {torch.get_num_threads()} threads")
    rows = []
    for seed in range(options.seeds):
        started, used = time.perf_counter(), time.process_time()
        with seeding.isolated(seeding.derive(seed, "weights")):
            network = parse(Model, options.architecture).build(Shape(1, 28, 28, 10))
        history = train(
            network,
            CrossEntropy(),
            data.train,
            data.validation,
            config=config,
            compute=compute,
            key=seeding.derive(seed, "training"),
        )
        seconds, process = time.perf_counter() - started, time.process_time() - used
        row = [seconds, process, history.epochs[history.best_epoch - 1]["validation accuracy"]]
        if not options.no_test:
            found = classify(network, data.test.pixels(slice(None)))[0]
            row.append((found == data.test.labels).double().mean().item())
        rows.append(row)
        show(f"seed {seed}", row)
    show("mean", [statistics.mean(column) for column in zip(*rows, strict=True)])


def show(name: str, row: list[float]) -> None:
    """Print seconds, seconds of all processors, and the accuracies."""
    shares = ", ".join(
        f"{what} {100 * share:.2f} %" for what, share in zip(("validation", "test"), row[2:], strict=False)
    )
    print(f"{name}: {row[0]:.1f} s ({row[1]:.1f} s of processor time), {shares}", flush=True)


if __name__ == "__main__":
    main()
