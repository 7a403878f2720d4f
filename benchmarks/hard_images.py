"""How many of some test images each effort of `standard` breaks, and for how many passes.

    python benchmarks/hard_images.py --model mine.py:network --threat "linf(eps=0.3)" --images 1406 2244 6605

For images that are known to have adversarial examples which attacks miss. Passes are forward and backward
together, the most that an image took.
"""

import argparse

import torch

from robustlab.core.options import Effort
from robustlab.core.spec import parse
from robustlab.evaluation.ensembles import Standard
from robustlab.evaluation.images import load_images
from robustlab.evaluation.subject import load_classifier
from robustlab.threats import ThreatModel

EFFORTS: tuple[Effort, ...] = ("quick", "standard", "thorough")


def main() -> None:
    """Print a line for each effort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="as for robustlab evaluate")
    parser.add_argument("--weights", default=None)
    parser.add_argument("--threat", default="linf(eps=0.3)")
    parser.add_argument("--images", type=int, nargs="+", required=True, help="numbers in the test set")
    parser.add_argument("--effort", choices=EFFORTS, nargs="+", default=EFFORTS)
    given = parser.parse_args()
    model = load_classifier(given.model, weights=given.weights).model
    split = load_images("mnist", n=max(given.images) + 1).images
    ids, threat = torch.tensor(given.images), parse(ThreatModel, given.threat)
    images, labels = split.pixels(ids), split.labels[ids]
    for effort in given.effort:
        broken, passes = torch.zeros(len(ids), dtype=torch.bool), torch.zeros(len(ids), dtype=torch.long)
        for attack in Standard(effort=effort).stages(threat, 10):
            left = (~broken).nonzero().squeeze(1)
            result = attack.run(model, images[left], labels[left], threat, ids=ids[left])
            passes[left] += result.forwards + result.backwards
            broken[left] = result.successes
        print(f"{effort}: {int(broken.sum())} of {len(ids)} broken, at most {int(passes.max()):,} passes")


if __name__ == "__main__":
    main()
