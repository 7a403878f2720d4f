"""scikit-learn's embedded digits: 1,797 real handwritten digits that need no download."""

import torch
import torch.nn.functional as F

from robustlab.core import seeding
from robustlab.data.split import Dataset, Split
from robustlab.data.splitting import train_and_validation

TEST_FRACTION = 0.2


def load(*, validation_fraction: float, seed: int, fallback: str = "") -> Dataset:
    """Load the digits, brought from 8x8 pixels of 17 grey levels to 28x28 of 256.

    A fifth of the images (the choice is fixed, whatever the seed) is the test set. They are smaller and
    smoother than MNIST's, so figures measured on them can't be compared with figures on MNIST.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.as_tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    # 8x8 -> 24x24 with a border of two pixels, because MNIST's digits do not touch the border either.
    large = F.pad(F.interpolate(small, size=(24, 24), mode="bicubic", antialias=True), (2, 2, 2, 2))
    images = large.clamp(0, 1).mul(255).round().to(torch.uint8)
    labels = torch.as_tensor(bunch.target, dtype=torch.int64)

    generator = torch.Generator().manual_seed(seeding.derive(0, "digits test set"))
    order = torch.randperm(len(labels), generator=generator)
    cut = round(len(labels) * TEST_FRACTION)
    test, rest = order[:cut].sort().values, order[cut:].sort().values
    first, second = train_and_validation(len(rest), validation_fraction, seed)

    def part(rows: torch.Tensor, name: str) -> Split:
        return Split(images=images[rows], labels=labels[rows], ids=rows, name=name)

    return Dataset(
        name="digits",
        train=part(rest[first], "train"),
        validation=part(rest[second], "validation"),
        test=part(test, "test"),
        source="scikit-learn load_digits (Alpaydin & Kaynak, UCI), 8x8 brought to 28x28",
        fallback=fallback,
    )
