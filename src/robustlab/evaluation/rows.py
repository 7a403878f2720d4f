"""A classifier of rows of features, or of signals, as one of images."""

from dataclasses import replace

from torch import Tensor, nn

from robustlab.data import FeatureRanges
from robustlab.evaluation.subject import LoadedClassifier
from robustlab.runs.ledger import digest


class OnRows(nn.Module):
    """Turns images (N, C, 1, L) in [0, 1] back into rows in their own units, for the network behind it."""

    def __init__(self, network: nn.Module, ranges: FeatureRanges) -> None:
        super().__init__()
        self.network, self.ranges = network, ranges
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's answer."""
        answer: Tensor = self.network(self.ranges.rows(images))
        return answer


def on_rows(subject: LoadedClassifier, ranges: FeatureRanges) -> LoadedClassifier:
    """Return a classifier of rows as one of the images that `data.features` made of them."""
    return replace(
        subject,
        model=OnRows(subject.model, ranges),
        code=digest(subject.code, ranges.shape, ranges.low.tolist(), ranges.high.tolist()),
    )
