"""An autoencoder in front of a classifier, both trained together."""

from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape, require_part


class PurifiedClassifier(nn.Module):
    """A purifier followed by a classifier; gradients flow through both."""

    def __init__(self, purifier: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.purifier = purifier
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.purifier(images))
        return logits


@register("purifier")
class PurifierModel(Model):
    """An autoencoder whose reconstruction is classified; one network in training, attacks and proofs.

    The defense ``purifier`` puts trained networks together; this architecture trains both parts from the
    start. The objective ``purifying`` adds the error of the reconstruction to the loss.
    """

    network: Model
    """The architecture that reconstructs the image."""
    classifier: Model
    """The architecture that classifies the reconstruction."""

    def __post_init__(self) -> None:
        require_part("network", self.network, "autoencoder")
        require_part("classifier", self.classifier, "classifier")

    def build(self, shape: Shape) -> PurifiedClassifier:
        return PurifiedClassifier(self.network.build(shape), self.classifier.build(shape))
