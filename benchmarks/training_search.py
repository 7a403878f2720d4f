"""What would the bookkeeping of `Attack.run` cost an adversarial training? Times both searches on one batch.

    OMP_NUM_THREADS=1 python benchmarks/training_search.py
    python benchmarks/training_search.py --steps 2 --repeats 1    # a quick look

Each search is ten steps of PGD at Linf 0.3 on a batch of 64 MNIST images. Printed are milliseconds of the
process's own time, the best of the rounds: for the loop of adversarial objectives, and for `Attack.run` when
every step is taken.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from robustlab.attacks import PGD
from robustlab.data import load_dataset
from robustlab.models import CNN, Model, Shape, StridedCNN
from robustlab.threats import Linf
from robustlab.training.objectives import PGDTraining
from robustlab.training.step import TrainingStep

BATCH, THREAT = 64, Linf(eps=0.3)


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least process time of a call; the first call is not timed."""
    work()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return 1000 * min(times)


def main() -> None:
    """Time both searches for two networks in two precisions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    block = load_dataset("mnist").train.take(slice(BATCH))
    images, labels, ids = block.pixels(slice(None)), block.labels, block.ids
    attack = PGD(steps=options.steps, rel_step_size=0.25)
    objective = PGDTraining(threat=THREAT, attack=attack)
    models: tuple[Model, ...] = (CNN(dropout=0.0), StridedCNN())
    for model in models:
        network = model.build(Shape(1, 28, 28, 10)).to(memory_format=torch.channels_last).eval()
        step = TrainingStep(
            network=network, player="network", images=images, labels=labels, ids=ids, progress=0.0, key=1
        )

        for bf16 in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loop = milliseconds(partial(objective.perturbed, step), options.repeats)
            precision = "bf16" if bf16 else "fp32"
            search = partial(attack.run, network, images, labels, THREAT, ids=ids, bf16=bf16)
            run = milliseconds(partial(search, early_stop=False), options.repeats)
            print(f"{model!r}, {precision}: loop {loop:.0f} ms, Attack.run {run:.0f} ms")


if __name__ == "__main__":
    main()
