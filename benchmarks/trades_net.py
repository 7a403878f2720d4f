r"""The network of TRADES' public checkpoint for MNIST (Zhang et al. 2019, arXiv:1901.08573), without weights.

    robustlab evaluate --model benchmarks/trades_net.py:network --weights trades.safetensors \
        --threat "linf(eps=0.3)" -n 10000 --batch-size 1000 --no-checks

Four convolutions of 3 x 3 without padding, two pools, three linear layers; the names are the checkpoint's.
"""

from collections import OrderedDict

from torch import Tensor, nn

CHANNELS = ((1, 32), (32, 32), (32, 64), (64, 64))


class TradesNet(nn.Module):
    """Images (N, 1, 28, 28) in [0, 1] to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (before, after) in enumerate(CHANNELS, start=1):
            layers[f"conv{number}"] = nn.Conv2d(before, after, 3)
            layers[f"relu{number}"] = nn.ReLU()
            if number % 2 == 0:
                layers[f"pool{number}"] = nn.MaxPool2d(2)
        self.feature_extractor = nn.Sequential(layers)
        self.classifier = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(1024, 200),
                relu1=nn.ReLU(),
                drop=nn.Dropout(0.5),
                fc2=nn.Linear(200, 200),
                relu2=nn.ReLU(),
                fc3=nn.Linear(200, 10),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.feature_extractor(images).flatten(1))
        return logits


def network() -> nn.Module:
    """Return it with random weights."""
    return TradesNet()
