"""Predictions of a classifier, in fp32 and in batches."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def classify(model: nn.Module, images: Tensor, batch_size: int = 250) -> tuple[Tensor, Tensor]:
    """Return predicted classes (N,) and the softmax probabilities of them (N,)."""
    parts = [model(batch).softmax(dim=1).max(dim=1) for batch in torch.split(images, batch_size)]
    return torch.cat([p.indices for p in parts]), torch.cat([p.values for p in parts])
