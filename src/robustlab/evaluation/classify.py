"""Predictions of a classifier, in fp32 and in batches."""

import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.batches import BatchSize, in_batches
from robustlab.core.errors import RobustlabError
from robustlab.core.logits import finite


@torch.no_grad()
def classify(model: nn.Module, images: Tensor, batch_size: int | BatchSize = 250) -> tuple[Tensor, Tensor]:
    """Return predicted classes (N,) and the softmax probabilities of them (N,).

    Raises:
        RobustlabError: an image has no answer, as `core.logits` explains.
    """
    classes, confidences = predict(model, images, batch_size=batch_size)
    if (classes < 0).any():
        raise RobustlabError("the classifier returned NaN or infinity instead of logits")
    return classes, confidences


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Tensor,
    *,
    batch_size: int | BatchSize = 250,
    samples: int = 1,
    key: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return predicted classes (N,) and the softmax probabilities of them (N,); -1 and 0 without an answer.

    Args:
        model: (N, C, H, W) in [0, 1] to logits (N, K), in eval mode.
        images: (N, C, H, W) float32; `core.logits` explains which have no answer.
        batch_size: images per pass; halved where memory runs out.
        samples: how often a random classifier is asked; its class is the one of the highest mean probability.
        key: of the global generator, from which only such a classifier draws.
    """

    def answers(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, valid = finite(torch.stack([model(batch) for _ in range(samples)]))
        highest = logits.softmax(dim=2).mean(dim=0).max(dim=1)
        return valid.all(dim=0), highest.indices, highest.values

    with seeding.isolated(key):
        parts = in_batches(images, batch_size, answers)
    valid, classes, confidences = (torch.cat(column) for column in zip(*parts, strict=True))
    return torch.where(valid, classes, -1), torch.where(valid, confidences, 0.0)
