"""Predictions of a classifier, in fp32 and in batches."""

import torch
from torch import Tensor, nn

from robustlab.core.errors import RobustlabError


@torch.no_grad()
def classify(model: nn.Module, images: Tensor, batch_size: int = 250) -> tuple[Tensor, Tensor]:
    """Return predicted classes (N,) and the softmax probabilities of them (N,).

    Raises:
        RobustlabError: the classifier's logits are not finite.
    """
    parts = [model(batch).softmax(dim=1).max(dim=1) for batch in torch.split(images, batch_size)]
    classes, confidences = torch.cat([p.indices for p in parts]), torch.cat([p.values for p in parts])
    if not torch.isfinite(confidences).all():
        raise RobustlabError("the classifier returned logits that are not finite")
    return classes, confidences
