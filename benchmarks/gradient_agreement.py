"""Do gradients near an image agree, and do their means lead farther? Of a network, bare or behind a sine.

    python benchmarks/gradient_agreement.py --model mnist_cnn --threat "linf(eps=0.1)"
    python benchmarks/gradient_agreement.py --model mnist_single_step --sine 0.02 50
    python benchmarks/gradient_agreement.py --model mine.py:network --weights mine.safetensors -n 200

The limits of the check `shattered-gradients` (`AGREED`, `STEP_RATIO`) rest on these figures. Printed are:

- the share of correct images whose gradients have a mean cosine below `AGREED`, and quantiles of the cosine;
- for the first `--stepped` correct images, how much farther ten steps of PGD raise the margin by means of 16
  gradients than by single gradients: 10, 50 and 90 % quantiles of the ratio for each step length, and the
  number of images for which it is above `STEP_RATIO` with one of them.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, IfShattered
from robustlab.attacks.gradient_agreement import AGREED, LOOKS, compared
from robustlab.attacks.gradients.smoothed import STD
from robustlab.attacks.losses import measure
from robustlab.core import seeding
from robustlab.core.spec import parse
from robustlab.data import Split, load_dataset
from robustlab.evaluation.checks.gradients import DESCENTS, STEP_RATIO
from robustlab.evaluation.classify import classify
from robustlab.evaluation.subject import load_classifier
from robustlab.threats import ThreatModel

BATCH = 250


class BehindSine(nn.Module):
    """Adds a sine of the pixel values to the images, which shatters the network's gradients."""

    def __init__(self, network: nn.Module, amplitude: float, periods: float) -> None:
        super().__init__()
        self.network, self.amplitude, self.frequency = network, amplitude, 2 * math.pi * periods

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images + self.amplitude * torch.sin(self.frequency * images))
        return logits


def cosines(model: nn.Module, block: Split) -> Tensor:
    """Return (N,) the mean cosine between gradients of the margin around each image."""
    clean = block.pixels(slice(None))

    def look(number: int) -> Tensor:
        noise = seeding.normal(seeding.derive(0, number), block.ids, tuple(clean.shape[1:]))
        points = (clean + STD * noise).clamp(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(measure("margin", model(points), block.labels).sum(), points)
        return gradient

    return compared(map(look, range(LOOKS))).cosine


def gain(model: nn.Module, block: Split, attack: Attack, threat: ThreatModel) -> Tensor:
    """Return (N,) how far an attack raises the margin."""
    clean = block.pixels(slice(None))
    reached = attack.run(model, clean, block.labels, threat, ids=block.ids, early_stop=False).images
    with torch.no_grad():
        before, after = (measure("margin", model(images), block.labels) for images in (clean, reached))
    return after - before


def quantiles(values: Tensor, *shares: float) -> str:
    """Return quantiles as text."""
    found = values.double().quantile(torch.tensor(shares, dtype=torch.float64))
    return " ".join(f"{value:.2f}" for value in found.tolist())


def main() -> None:
    """Print both measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="as in robustlab evaluate")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--threat", default="linf(eps=0.3)")
    parser.add_argument("--sine", type=float, nargs=2, metavar=("AMPLITUDE", "PERIODS"))
    parser.add_argument("-n", type=int, default=1000, help="the first so many test images")
    parser.add_argument("--stepped", type=int, default=30, help="images of the second measurement")
    options = parser.parse_args()
    model = load_classifier(options.model, weights=options.weights).model.eval().requires_grad_(False)
    if options.sine:
        model = BehindSine(model, *options.sine).eval()
    block = load_dataset(options.dataset).test.take(slice(options.n))
    correct = (classify(model, block.pixels(slice(None)))[0] == block.labels).nonzero().squeeze(1)
    block = block.take(correct)
    cosine = torch.cat(
        [cosines(model, block.take(rows)) for rows in torch.split(torch.arange(len(block)), BATCH)]
    )
    below = int((cosine < AGREED).sum())
    print(f"mean cosine below {AGREED:g}: {below} of {len(block)} images ({below / len(block):.2%})")
    print("cosine, quantiles at 0.5, 2, 50 and 98 %:", quantiles(cosine, 0.005, 0.02, 0.5, 0.98))
    threat = parse(ThreatModel, options.threat)
    tried = block.take(slice(options.stepped))
    farther = torch.zeros(len(tried), dtype=torch.bool)
    for descent in DESCENTS:
        own = gain(model, tried, descent, threat)
        means = gain(model, tried, IfShattered(attack=descent, agreement=1.0), threat)
        print(
            f"steps of {descent.rel_step_size:g} eps: gain of means over gain of single gradients:",
            quantiles(means / own, 0.1, 0.5, 0.9),
            flush=True,
        )
        farther |= means > STEP_RATIO * own
    print(f"means lead more than {STEP_RATIO:g} times as far: {int(farther.sum())} of {len(tried)} images")


if __name__ == "__main__":
    main()
