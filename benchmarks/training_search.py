"""What would the bookkeeping of `Attack.run` cost an adversarial training? Times both searches on one batch.

    OMP_NUM_THREADS=1 python benchmarks/training_search.py
    python benchmarks/training_search.py --steps 2 --rounds 1    # a quick look

Each search is ten steps of PGD at Linf 0.3 on a batch of 64 MNIST images. Printed are milliseconds of the
process's own time, the best of the rounds: for the loop of adversarial objectives, and for `Attack.run` when
every step is taken.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from robustlab.attacks import PGD
from robustlab.data import load_dataset
from robustlab.models import CNN, Model, Shape, StridedCNN
from robustlab.threats import Linf
from robustlab.training.objectives import PGDTraining
from robustlab.training.step import TrainingStep

BATCH, THREAT = 64, Linf(eps=0.3)


def milliseconds(searches: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the least process time of each search; they take turns, and the first round is not timed."""
    times: list[list[float]] = [[] for _ in searches]
    for _ in range(rounds + 1):
        for search, found in zip(searches, times, strict=True):
            started = time.process_time()
            search()
            found.append(time.process_time() - started)
    return [1000 * min(found[1:]) for found in times]


def main() -> None:
    """Time both searches for two networks in two precisions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
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

        def loop(step: TrainingStep = step, *, bf16: bool) -> object:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return objective.perturbed(step)

        run = partial(attack.run, network, images, labels, THREAT, ids=ids, early_stop=False)
        for bf16 in (False, True):
            own, whole = milliseconds((partial(loop, bf16=bf16), partial(run, bf16=bf16)), options.rounds)
            precision = "bf16" if bf16 else "fp32"
            print(f"{model!r}, {precision}: loop {own:.0f} ms, Attack.run {whole:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
