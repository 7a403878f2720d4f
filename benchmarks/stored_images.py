"""How small do adversarial images get in the ledger, and what does that cost? Of FGSM and of PGD images.

    python benchmarks/stored_images.py
    python benchmarks/stored_images.py --model mnist_single_step --threat "linf(eps=0.3)" -n 100

Printed are the share of the float32 values' size that is left, and microseconds an image. An attack spends
its full budget on every image.
"""

import argparse
import time

from robustlab.attacks import FGSM, PGD, Attack
from robustlab.data import load_dataset
from robustlab.evaluation.jobs.stages import to_bytes
from robustlab.evaluation.subject import load_classifier


def main() -> None:
    """Compress the images of two attacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mnist_cnn", help="as in robustlab evaluate")
    parser.add_argument("--threat", default="linf(eps=0.125)")
    parser.add_argument("-n", type=int, default=1000, help="the first so many MNIST test images")
    options = parser.parse_args()
    model = load_classifier(options.model).model.eval()
    block = load_dataset("mnist").test.take(slice(options.n))
    clean = block.pixels(slice(None))
    attacks: tuple[Attack, ...] = (FGSM(), PGD(steps=20, rel_step_size=0.2))
    for attack in attacks:
        found = attack.run(model, clean, block.labels, options.threat, ids=block.ids, early_stop=False)
        started = time.perf_counter()
        size = sum(len(to_bytes(image)) for image in found.images)
        seconds = time.perf_counter() - started
        share, cost = size / (4 * clean.numel()), 1e6 * seconds / len(clean)
        print(f"{attack!r}: {share:.0%} of the size, {cost:.0f} microseconds an image")


if __name__ == "__main__":
    main()
