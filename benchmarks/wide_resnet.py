"""A wide residual network for images of 32x32 (Zagoruyko & Komodakis 2016, arXiv:1605.07146).

    robustlab evaluate benchmarks/wide_resnet.py:network --weights MY_WEIGHTS.pt --dataset cifar10 \\
        --threat "linf(eps=8/255)"

Without ``--weights`` they are random, so that it shows the cost of such a network, and not its accuracy.
"""

from torch import Tensor, nn

from robustlab.core import seeding


def network() -> nn.Module:
    """Return a WRN-28-10 for ten classes, with random weights."""
    with seeding.isolated(0):
        return WideResNet(depth=28, width=10).eval()


class WideResNet(nn.Module):
    """Images (N, 3, H, W) to logits (N, classes).

    Args:
        depth: the number of layers, 6 k + 4 for k blocks in each of the three groups.
        width: the factor of the number of channels, 16, 32 and 64.
        classes: the number of logits.
    """

    def __init__(self, *, depth: int, width: int, classes: int = 10) -> None:
        super().__init__()
        channels, layers = 16, [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
        blocks: list[nn.Module] = []
        for stride, after in ((1, 16 * width), (2, 32 * width), (2, 64 * width)):
            for place in range((depth - 4) // 6):
                blocks.append(Block(channels, after, stride if place == 0 else 1))
                channels = after
        self.features = nn.Sequential(*layers, *blocks, nn.BatchNorm2d(channels), nn.ReLU())
        self.linear = nn.Linear(channels, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.linear(self.features(images).mean(dim=(2, 3)))
        return logits


class Block(nn.Module):
    """Two convolutions, each after its batch normalisation and ReLU, beside the input itself."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.rest = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )
        same = before == after and stride == 1
        self.shortcut = None if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the sum of both ways."""
        shown = self.first(images)
        beside = images if self.shortcut is None else self.shortcut(shown)
        summed: Tensor = beside + self.rest(shown)
        return summed
