"""scikit-learn's embedded digits (Alpaydin & Kaynak 1998, UCI): real digits that need no download."""

from pathlib import Path

import torch
import torch.nn.functional as F

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.data.base import Dataset
from robustlab.data.split import Split, Splits
from robustlab.data.splitting import train_and_validation

TEST_FRACTION = 0.2


@register("digits")
class Digits(Dataset):
    """1,797 handwritten digits, 8x8 scaled to 28x28, from scikit-learn.

    A fifth of the images (the same for every seed) is the test set. They are smaller and smoother than
    MNIST's, so figures measured on them can't be compared with figures on MNIST.
    """

    class_names = tuple("0123456789")

    def load(
        self, *, data_root: Path | None, validation_fraction: float, seed: int, download: bool
    ) -> Splits:
        del data_root, download
        from sklearn.datasets import load_digits

        bunch = load_digits()
        small = torch.as_tensor(bunch.images, dtype=torch.float32)[:, None] / 16
        # 8x8 -> 24x24 with a border of two pixels, because MNIST's digits do not touch the border either.
        large = F.pad(F.interpolate(small, size=(24, 24), mode="bicubic", antialias=True), (2, 2, 2, 2))
        images = large.clamp(0, 1).mul(255).round().to(torch.uint8)
        whole = Split.of(images, torch.as_tensor(bunch.target, dtype=torch.int64), name="train")

        generator = torch.Generator().manual_seed(seeding.derive(0, "digits test set"))
        order = torch.randperm(len(whole), generator=generator)
        cut = round(len(whole) * TEST_FRACTION)
        test, rest = order[:cut].sort().values, order[cut:].sort().values
        first, second = train_and_validation(len(rest), validation_fraction, seed)
        return Splits(
            name=self.name,
            train=whole.take(rest[first]),
            validation=whole.take(rest[second]).named("validation"),
            test=whole.take(test).named("test"),
            source="scikit-learn load_digits (Alpaydin & Kaynak, UCI), 8x8 brought to 28x28",
            class_names=self.class_names,
        )
